"""Text from outside, made safe for a terminal or a log: without control characters and without invites."""

from __future__ import annotations

import re

HIDDEN = "(hidden)"
"""Shown in place of a secret."""
_INVITE = re.compile(r"p2pt1-[\w-]+(?:(?:\\[nrt]|[\s'\",])+(?=[\w-]*[A-Z0-9_])[\w-]{8,})*", re.ASCII)
"""An invite, and the pieces after it that are not words, since blanks or line breaks often split a pasted invite."""
_PIECE = re.compile(r"(?<![\w+/:-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{32,}(?![\w+/=])", re.ASCII)
"""Such a piece alone, as long as a secret. A pin has `sha256:` in front, an id has no capitals."""


def printable(text: str) -> str:
    """The same text, with every character escaped that could move the cursor, reverse the writing or be invisible."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def without_secrets(text: str) -> str:
    """The same text without invites, which hold a network's secret, and without what may be part of one."""
    return _PIECE.sub(HIDDEN, _INVITE.sub(f"p2pt1-{HIDDEN}", text))


def presentable(text: str) -> str:
    """Fit for a terminal: without secrets and printable, line by line."""
    return "\n".join(printable(line) for line in without_secrets(text).split("\n"))
