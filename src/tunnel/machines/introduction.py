"""The server's introduction of one pair: it waits for both announcements, and always gives an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from statemachine import State

from tunnel.machines.chart import NOTHING, Chart


class IntroductionChart(Chart):
    """Whether both nodes of a pair can be introduced to each other."""

    waiting = State(initial=True)
    introduced = State(final=True)
    refused = State(final=True)
    timed_out = State(final=True)

    both_announced = waiting.to(introduced)
    refuse = waiting.to(refused)
    patience_ended = waiting.to(timed_out)

    events_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "waiting": frozenset({"both_announced", "refuse"}),
        "introduced": NOTHING,
        "refused": NOTHING,
        "timed_out": NOTHING,
    }
    sends_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "waiting": frozenset({"pending"}),
        "introduced": NOTHING,
        "refused": NOTHING,
        "timed_out": NOTHING,
    }
