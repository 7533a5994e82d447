"""Text from outside on its way to a terminal or a log: no control character, no invite ever gets through."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_NEAR = 0.5
_FAMILY = "p2pt1"
_HIDDEN = "(hidden)"
_INVITE = re.compile(r"p2pt1-[\w-]+(?:(?:\\[nrt]|[\s'\",])+(?=[\w-]*[A-Z0-9_])[\w-]{8,})*", re.ASCII)
"""With what follows it behind a blank or a line break and is no word: a pasted invite is often in pieces."""
_PIECE = re.compile(r"(?<![\w+/:-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{32,}(?![\w+/=])", re.ASCII)
"""Such a piece alone, as long as a secret. A pin has `sha256:` in front, an id has no capitals."""
_LEAST_HIDDEN = 4


def printable(text: str) -> str:
    """The same text with every character that could move a cursor, turn the writing or hide itself spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def without_secrets(text: str) -> str:
    """The same text with every invite cut out, and what may be a piece of one: an invite holds its network's secret."""
    return _PIECE.sub(_HIDDEN, _INVITE.sub(f"p2pt1-{_HIDDEN}", text))


def is_pasted(word: str) -> bool:
    """Whether this is an invite, or begins like one."""
    return _FAMILY in word.casefold()


def without_pasted(text: str, typed: Sequence[str]) -> str:
    """The same text without the words that were typed, if an invite is among them: blanks may have split it."""
    if not any(map(is_pasted, typed)):
        return text
    for word in sorted(typed, key=len, reverse=True):
        value = word.partition("=")[2] if word.startswith("-") else word
        if len(value) >= _LEAST_HIDDEN:
            for spelling in (value, repr(value)[1:-1], printable(value)):
                text = text.replace(spelling, _HIDDEN)
    return text


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
