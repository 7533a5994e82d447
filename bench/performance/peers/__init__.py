"""All peers that can be measured."""

from __future__ import annotations

from bench.performance.peers.bare import Bare
from bench.performance.peers.n2n import N2n
from bench.performance.peers.nebula import Nebula
from bench.performance.peers.openvpn import OpenVpn
from bench.performance.peers.ours import PLAIN, RELAYED_UDP, RELAYED_WEBSOCKET, Ours
from bench.performance.peers.tinc import Tinc
from bench.performance.peers.tunnel import Peer, Tunnel
from bench.performance.peers.wireguard_go import WireguardGo
from bench.performance.peers.yggdrasil import Yggdrasil

PEERS: tuple[Peer, ...] = (
    Bare(),
    Ours(),
    WireguardGo(),
    Nebula(),
    Tinc(),
    OpenVpn(),
    Yggdrasil(),
    N2n(),
    PLAIN,
    RELAYED_UDP,
    RELAYED_WEBSOCKET,
)
"""In the order of the tables."""

BASE = "bare"
"""The peer that the others are compared with."""
OURS = "ours"

__all__ = ["BASE", "OURS", "PEERS", "Ours", "Peer", "Tunnel", "WireguardGo"]
