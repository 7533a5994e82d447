"""The keys that two peers share: agreed, renewed in time, expired. Runs beside the chart of the peer connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from statemachine import State

from tunnel.machines.chart import NOTHING, Chart


class SessionChart(Chart):
    """Whether there are keys to seal data with."""

    idle = State(initial=True)
    handshaking = State()
    established = State()
    rekeying = State()
    expired = State()

    wanted = idle.to(handshaking) | expired.to(handshaking)
    agreed = (
        idle.to(established)
        | handshaking.to(established)
        | established.to(established)
        | rekeying.to(established)
        | expired.to(established)
    )
    rekey_due = established.to(rekeying)
    keys_expired = established.to(expired) | rekeying.to(expired)
    patience_ended = handshaking.to(handshaking) | established.to(expired) | rekeying.to(rekeying)
    reset = idle.from_(handshaking, established, rekeying, expired)

    events_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "idle": frozenset({"wanted", "agreed"}),
        "handshaking": frozenset({"agreed"}),
        "established": frozenset({"agreed", "rekey_due", "keys_expired"}),
        "rekeying": frozenset({"agreed", "keys_expired"}),
        "expired": frozenset({"wanted", "agreed"}),
    }
    sends_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "idle": NOTHING,
        "handshaking": frozenset({"handshake"}),
        "established": frozenset({"control"}),
        "rekeying": frozenset({"handshake"}),
        "expired": NOTHING,
    }
