"""The known word that somebody probably meant."""

from __future__ import annotations

from collections.abc import Iterable

_LIKENESS = 0.5


def nearest(word: str, known: Iterable[str], likeness: float = _LIKENESS) -> str | None:
    """The known word that is most like this one, leading dashes apart. None if the likeness (0 to 1) of all is less."""
    from difflib import get_close_matches

    bare = {name.lstrip("-"): name for name in sorted(known)}
    found = get_close_matches(word.lstrip("-"), bare, n=1, cutoff=likeness)
    return bare[found[0]] if found else None


def or_nearest(word: str, known: Iterable[str]) -> str:
    """What follows the complaint about an unknown word: the nearest known one, or all there are."""
    near = nearest(word, known)
    return f"known ones are {', '.join(sorted(known))}" if near is None else f"the nearest known one is {near!r}"
