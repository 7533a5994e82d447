"""One node's announcement: what it tells its network about itself, repeated until the server acknowledges it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from statemachine import State

from tunnel.machines.chart import NOTHING, Chart


class AnnouncementChart(Chart):
    """Whether the server holds our latest announcement."""

    surveying = State(initial=True)
    announcing = State()
    acknowledged = State()
    stale = State()

    registered = surveying.to(announcing)
    acknowledged_by_server = announcing.to(acknowledged)
    changed = announcing.to(announcing) | acknowledged.to(stale)
    patience_ended = announcing.to(announcing) | stale.to(announcing)
    link_lost = surveying.from_(announcing, acknowledged, stale)

    events_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "surveying": NOTHING,
        "announcing": frozenset({"acknowledged_by_server"}),
        "acknowledged": NOTHING,
        "stale": NOTHING,
    }
    sends_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "surveying": NOTHING,
        "announcing": frozenset({"announce"}),
        "acknowledged": NOTHING,
        "stale": NOTHING,
    }
