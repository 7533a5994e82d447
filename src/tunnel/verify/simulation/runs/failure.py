"""What did not hold in a run, when it showed, and of whom: where to look back from."""

from __future__ import annotations

from typing import NamedTuple


class Failure(NamedTuple):
    """Something that did not hold."""

    at: float
    """Seconds into the run; its end, for what is judged of the whole of it."""
    text: str
    about: tuple[str, ...] = ()
    """The hosts that it is about, by name; none where it may be any."""
