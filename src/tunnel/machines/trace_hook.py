"""Who looks on: a simulation sees every move of a chart and every signal, and the program knows nothing of it.

The witness stands in a context variable, so each simulated machine has its own, and a program that runs without one
pays for a look at a variable that is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Protocol

from tunnel.wire.signals import Signal


class TraceHook(Protocol):
    """Sees what happens on one machine, as it happens. It must not act."""

    def see_move(self, chart: str, about: str, source: str, event: str, facts: Mapping[str, bool], target: str) -> None:
        """A chart took a transition; `about` tells charts of one kind apart, `facts` are what its guards were asked."""
        ...

    def see_signal(self, is_sent: bool, signal: Signal) -> None:
        """A signal was handed to the link, or came out of it."""
        ...


TRACE_HOOK: ContextVar[TraceHook | None] = ContextVar("witness", default=None)
