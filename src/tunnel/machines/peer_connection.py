"""One peer connection of one node: from knowing nothing to a direct path, with the relay in between.

Facts: `relay`, the relay reaches the peer (it answered recently); `direct_allowed`, both sides may and can try a direct
path. Data never waits for this chart: it flows over the relay as soon as there is a session, in any state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from statemachine import State

from tunnel.machines.chart import NOTHING, Chart


class PeerConnectionChart(Chart):
    """How a peer is reached, and what is tried next."""

    detecting = State(initial=True)
    announced = State()
    requested = State()
    punching = State()
    connected = State()
    relayed = State()
    closed = State(final=True)

    announcement_acked = detecting.to(announced)
    peer_wanted = announced.to(requested)
    introduced = (
        announced.to(punching, cond="may_go_direct")
        | announced.to(relayed, cond="relay_carries", unless="may_go_direct")
        | requested.to(punching, cond="may_go_direct")
        | requested.to(relayed, cond="relay_carries", unless="may_go_direct")
        | relayed.to(punching, cond="may_go_direct")
    )
    refused = requested.to(announced)
    peer_info_timeout = requested.to(relayed, cond="relay_carries") | requested.to(announced, unless="relay_carries")
    path_verified = punching.to(connected) | relayed.to(connected)
    paths_exhausted = punching.to(relayed, cond="relay_carries") | punching.to(announced, unless="relay_carries")
    path_lost = connected.to(punching)
    relay_lost = relayed.to(announced)
    peer_left = announced.from_(requested, punching, connected, relayed)
    patience_ended = (
        requested.to(relayed, cond="relay_carries")
        | requested.to(announced, unless="relay_carries")
        | punching.to(relayed, cond="relay_carries")
        | punching.to(announced, unless="relay_carries")
        | relayed.to(punching, cond="may_go_direct")
    )
    close = closed.from_(detecting, announced, requested, punching, connected, relayed)

    facts: ClassVar[frozenset[str]] = frozenset({"relay", "direct_allowed"})
    events_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "detecting": frozenset({"announcement_acked"}),
        "announced": frozenset({"peer_wanted", "introduced"}),
        "requested": frozenset({"introduced", "refused", "peer_info_timeout"}),
        "punching": frozenset({"path_verified", "paths_exhausted"}),
        "connected": frozenset({"path_lost"}),
        "relayed": frozenset({"path_verified", "introduced", "relay_lost"}),
        "closed": NOTHING,
    }
    sends_of: ClassVar[Mapping[str, frozenset[str]]] = {
        "detecting": NOTHING,
        "announced": NOTHING,
        "requested": frozenset({"connect"}),
        "punching": frozenset({"connect", "probe"}),
        "connected": frozenset({"probe"}),
        "relayed": frozenset({"probe"}),
        "closed": NOTHING,
    }
    """Answers to probes are missing here: they are given in every state."""

    def relay_carries(self, relay: bool = False) -> bool:
        """Whether the relay reaches the peer."""
        return relay

    def may_go_direct(self, direct_allowed: bool = False) -> bool:
        """Whether a direct path may be tried at all."""
        return direct_allowed
