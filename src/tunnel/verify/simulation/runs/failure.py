"""What did not hold in a run, when that showed, and at which hosts."""

from __future__ import annotations

from typing import NamedTuple


class Failure(NamedTuple):
    """Something that did not hold."""

    at: float
    """Seconds since the start of the run; its end, for what is judged over the whole run."""
    text: str
    about: tuple[str, ...] = ()
    """The names of the hosts concerned; empty if it may be any of them."""
