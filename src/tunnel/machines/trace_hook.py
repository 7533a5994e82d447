"""A hook by which a simulation sees every move of a chart and every signal, while the program knows nothing of it.

The hook is in a context variable, so each simulated machine has its own. A program without one pays only for a look at
an empty variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Protocol

from tunnel.wire.signals import Signal


class TraceHook(Protocol):
    """Sees what happens on one machine, as it happens. It must not interfere."""

    def see_move(self, chart: str, about: str, source: str, event: str, facts: Mapping[str, bool], target: str) -> None:
        """A chart took a transition. `about` tells charts of one kind apart; its guards were given `facts`."""
        ...

    def see_signal(self, is_sent: bool, signal: Signal) -> None:
        """A signal was sent over the link, or received from it."""
        ...


TRACE_HOOK: ContextVar[TraceHook | None] = ContextVar("trace_hook", default=None)
