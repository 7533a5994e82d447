"""Text from outside on its way to a terminal or a log: no control character, no invite ever gets through."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches

_NEAR = 0.5
_INVITE = re.compile(r"p2pt1-[A-Za-z0-9_-]+")


def printable(text: str) -> str:
    """The same text with every character that could move a cursor, turn the writing or hide itself spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def without_secrets(text: str) -> str:
    """The same text with every invite cut out: an invite holds its network's secret."""
    return _INVITE.sub("p2pt1-(hidden)", text)


def presentable(text: str) -> str:
    """Fit for a terminal: without secrets and printable, line by line."""
    return "\n".join(printable(line) for line in without_secrets(text).split("\n"))


def mute_stdout() -> None:
    """Its reader has gone: what is written from now on goes nowhere, and the flush at exit does not fail again."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)


def nearest(word: str, known: Iterable[str], likeness: float = _NEAR) -> str | None:
    """The known word that is most like this one, dashes in front apart; None if none is as like as that (0 to 1)."""
    bare = {name.lstrip("-"): name for name in sorted(known)}
    found = get_close_matches(word.lstrip("-"), bare, n=1, cutoff=likeness)
    return bare[found[0]] if found else None


def or_nearest(word: str, known: Iterable[str]) -> str:
    """What follows the complaint about an unknown word: the nearest known one, or all there are."""
    near = nearest(word, known)
    return f"known ones are {', '.join(sorted(known))}" if near is None else f"the nearest known one is {near!r}"
