"""One node's port mapping in one address family: requested, held, renewed, lost, or unsupported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from statemachine import State

from tunnel.machines.chart import NOTHING, Chart


class PortMappingChart(Chart):
    """Whether the gateway forwards one of its ports to us."""

    probing = State(initial=True)
    mapped = State()
    renewing = State()
    lost = State()
    unsupported = State()

    granted = probing.to(mapped) | renewing.to(mapped)
    refused = probing.to(unsupported) | renewing.to(lost)
    forgotten = mapped.to(lost)
    network_changed = probing.from_(probing, mapped, renewing, lost, unsupported)
    patience_ended = (
        probing.to(unsupported) | mapped.to(renewing) | renewing.to(lost) | lost.to(probing) | unsupported.to(probing)
    )

    events_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "probing": frozenset({"granted", "refused"}),
        "mapped": frozenset({"forgotten"}),
        "renewing": frozenset({"granted", "refused"}),
        "lost": NOTHING,
        "unsupported": NOTHING,
    }
    sends_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "probing": frozenset({"map"}),
        "mapped": frozenset({"look"}),
        "renewing": frozenset({"map"}),
        "lost": NOTHING,
        "unsupported": NOTHING,
    }
