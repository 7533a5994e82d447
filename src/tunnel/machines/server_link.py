"""One node's link to its server: dialed, registered, lost, dialed again after a backoff."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from statemachine import State

from tunnel.machines.chart import NOTHING, Chart


class ServerLinkChart(Chart):
    """Whether this node is registered at the server."""

    offline = State(initial=True)
    connecting = State()
    registered = State()
    backing_off = State()

    dial = offline.to(connecting)
    welcomed = connecting.to(registered)
    failed = connecting.to(backing_off)
    refused = connecting.to(backing_off) | registered.to(backing_off)
    lost = registered.to(backing_off)
    redial = registered.to(connecting) | backing_off.to(connecting)
    patience_ended = connecting.to(backing_off) | backing_off.to(connecting)

    events_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "offline": frozenset({"dial"}),
        "connecting": frozenset({"welcomed", "failed", "refused"}),
        "registered": frozenset({"lost", "refused", "redial"}),
        "backing_off": frozenset({"redial"}),
    }
    sends_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "offline": NOTHING,
        "connecting": frozenset({"hello"}),
        "registered": frozenset({"ping", "pong", "announce", "withdraw", "connect", "allocate"}),
        "backing_off": NOTHING,
    }
