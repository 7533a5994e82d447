"""Ranks this machine's interfaces by how likely peers are reached there: default routes first, tunnels late.

A machine may have dozens of addresses, of container bridges and other VPNs. Peers are told the first two dozen.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum

from tunnel.network.os import netlink

# Linux <if_link.h>, <if.h>
_IFLA_LINKINFO, _IFLA_INFO_KIND = 18, 1
_IFF_POINTOPOINT, _IFF_LOWER_UP = 0x10, 0x10000

_NESTED = frozenset(
    (
        *("tun", "ppp", "wireguard", "ovpn", "xfrm", "vti", "vti6", "l2tpeth", "gtp", "amt", "bareudp", "batadv"),
        *("vxlan", "geneve", "gre", "gretap", "ip6gre", "ip6gretap", "erspan", "ip6erspan", "ipip", "sit", "ip6tnl"),
    )
)
"""Kinds of links that encapsulate packets; TAP devices of virtual machines are called `tun` too."""
_INSIDE = frozenset(("bridge", "dummy", "ifb", "vrf", "veth"))
"""Kinds that lead to programs on this machine, unless a default route uses them."""


class Rank(IntEnum):
    """The lower, the better."""

    WAY_OUT = 0
    """A default route leads there."""
    CABLE = 1
    """Hardware, or a VLAN or bond of it."""
    INSIDE = 2
    NESTED = 3
    """It encapsulates packets, and may lead anywhere: even through our own tunnel."""
    UNPLUGGED = 4
    """It has no link."""


@dataclass(frozen=True, slots=True)
class Link:
    """One interface."""

    index: int
    flags: int
    kind: str
    """Empty for hardware."""

    @property
    def is_up(self) -> bool:
        """Whether it is administratively up."""
        return bool(self.flags & netlink.IFF_UP)

    @property
    def is_nested(self) -> bool:
        """Whether it encapsulates packets, or is a point-to-point link: no LAN."""
        return self.kind in _NESTED or bool(self.flags & _IFF_POINTOPOINT)

    def rank(self, ways_out: Collection[int]) -> Rank:
        """`ways_out` are the interfaces of default routes."""
        if not self.flags & _IFF_LOWER_UP:
            return Rank.UNPLUGGED
        if self.is_nested:
            return Rank.NESTED
        if self.index in ways_out:
            return Rank.WAY_OUT
        return Rank.INSIDE if self.kind in _INSIDE else Rank.CABLE


def read_links(kernel: netlink.Netlink) -> dict[int, Link]:
    """All interfaces, by index. Raises OSError."""
    messages = kernel.dump(netlink.GET_LINK, netlink.LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
    return {link.index: link for link in map(_link, messages)}


def leads_into_nested(kernel: netlink.Netlink, packed: bytes) -> bool:
    """Whether packets to this address leave by an interface that encapsulates them. False if there is no route."""
    family = socket.AF_INET6 if len(packed) == 16 else socket.AF_INET
    question = netlink.ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    try:
        route = kernel.ask(netlink.GET_ROUTE, question + netlink.attribute(netlink.RTA_DST, packed))
        index = int.from_bytes(route.attributes(netlink.ROUTE).get(netlink.RTA_OIF, b""), sys.byteorder)
        return _link(kernel.ask(netlink.GET_LINK, netlink.LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0))).is_nested
    except OSError:
        return False


def _link(message: netlink.Message) -> Link:
    _, _, index, flags, _ = netlink.LINK.unpack_from(message.body)
    info = message.attributes(netlink.LINK).get(_IFLA_LINKINFO, b"")
    kind = netlink.nested(info).get(_IFLA_INFO_KIND, b"")
    return Link(index, flags, kind.rstrip(b"\0").decode(errors="replace"))
