"""An invite that was typed as an argument: errors must not repeat it."""

from __future__ import annotations

from collections.abc import Sequence

from tunnel.model.safe_text import HIDDEN, printable

_PREFIX = "p2pt1"
_SHORTEST_HIDDEN = 4


def is_pasted(word: str) -> bool:
    """Whether this is an invite, or begins like one."""
    return _PREFIX in word.casefold()


def without_pasted(text: str, typed: Sequence[str]) -> str:
    """The same text without the words that were typed, if an invite is among them: blanks may have split it."""
    if not any(map(is_pasted, typed)):
        return text
    for word in sorted(typed, key=len, reverse=True):
        value = word.partition("=")[2] if word.startswith("-") else word
        if len(value) >= _SHORTEST_HIDDEN:
            for spelling in (value, repr(value)[1:-1], printable(value)):
                text = text.replace(spelling, HIDDEN)
    return text
