"""Which datagram size to probe next on a path: DPLPMTUD's search (RFC 8899, section 5.3.2). Pure.

Sizes are bytes of UDP payload. What links have is told in bytes of IP packets, so that is what candidates are made of.
"""

from __future__ import annotations

from tunnel.model.way import Way
from tunnel.wire.circuits import HEAD_BYTES
from tunnel.wire.frames import BASE_SIZE
from tunnel.wire.ip_packet import IPV4_HEADER_BYTES, IPV6_HEADER_BYTES

ETHERNET = 1500
LINK_MTUS = (1280, 1400, 1420, 1452, 1460, 1480, 1492, ETHERNET, 4352, 8192, 9000)
"""Common ones: the least of IPv6, tunnels and VPNs, PPPoE with and without a tunnel in it, Ethernet, FDDI, jumbo."""
_UDP_HEADER_BYTES = 8


def link_mtu_of(way: Way, size: int) -> int | None:
    """The bytes of the IP packet that carries a datagram of this size; None over the link to the server."""
    return None if way.remote is None else size + _overhead(way)


class MtuSearch:
    """One search on one way. Ask for `next_size` until it is None; tell `note_lost` of each size that did not pass."""

    def __init__(self, way: Way) -> None:
        overhead = _overhead(way)
        self._first = ETHERNET - overhead
        self._sizes = tuple(mtu - overhead for mtu in LINK_MTUS)
        self._lost = self._sizes[-1] + 1

    def next_size(self, proved: int) -> int | None:
        """The size to probe, if datagrams of `proved` bytes pass: the likeliest first, then halves; None: found."""
        left = [size for size in self._sizes if max(proved, BASE_SIZE) < size < self._lost]
        return _middle(left, self._first) if left else None

    def note_lost(self, size: int) -> None:
        """Datagrams of this size do not pass."""
        self._lost = min(self._lost, size)


def _middle(sizes: list[int], first: int) -> int:
    return first if first in sizes else sizes[len(sizes) // 2]


def _overhead(way: Way) -> int:
    """Bytes around a datagram between nodes on this way: a circuit's head, UDP, IP."""
    is_ipv6 = way.remote is not None and way.remote.is_ipv6
    ip = IPV6_HEADER_BYTES if is_ipv6 else IPV4_HEADER_BYTES
    return (HEAD_BYTES if way.circuit else 0) + _UDP_HEADER_BYTES + ip
