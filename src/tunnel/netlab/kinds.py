"""What a site's router does to packets, as nftables text. Knows no namespace and runs nothing.

The words are those of RFC 4787: *mapping* (which external port a local one gets), *filtering* (who may send to it).

    kind             mapping                      filtering                    made by
    public           none                         open                         no router at all
    port_preserving  endpoint-independent         address and port-dependent   masquerade, WAN input dropped
    sloppy           as above, until poisoned     address and port-dependent   masquerade, WAN input accepted
    full_cone        endpoint-independent         endpoint-independent         a learnt map, DNAT through it
    addr_restricted  endpoint-independent         address-dependent            the map, for remotes that were spoken to
    symmetric        address and port-dependent   address and port-dependent   masquerade fully-random
    double           two port_preserving routers in series, a carrier's 100.64/10 network between them
    udp_blocked      only TCP to a few ports leaves, all else is dropped without a word
    web_only         the same, and a TCP stream that begins neither with `GET ` nor with a TLS handshake is reset

Why the drop on WAN input matters: an accepted packet becomes a conntrack entry of the router itself, and when a host
behind it then sends to that remote, its usual port is taken and Linux maps it to a random one. A dropped packet's entry
is never confirmed.
"""

from __future__ import annotations

from enum import Enum
from typing import assert_never

OPEN_TCP_PORTS = (443, 8080)
"""What still leaves a site whose kind is `udp_blocked` or `web_only`."""

MAPPING_LIFETIME = 180
"""Seconds that a learnt mapping lives without traffic, unless the site says otherwise."""


class Kind(Enum):
    """The behaviour of a site's router."""

    PUBLIC = "public"
    PORT_PRESERVING = "port_preserving"
    SLOPPY = "sloppy"
    FULL_CONE = "full_cone"
    ADDR_RESTRICTED = "addr_restricted"
    SYMMETRIC = "symmetric"
    DOUBLE = "double"
    UDP_BLOCKED = "udp_blocked"
    WEB_ONLY = "web_only"

    @property
    def routers(self) -> tuple[Kind, ...]:
        """The routers of such a site, the one at the internet first."""
        match self:
            case Kind.PUBLIC:
                return ()
            case Kind.DOUBLE:
                return (Kind.PORT_PRESERVING, Kind.PORT_PRESERVING)
            case _:
                return (self,)


def router_rules(kind: Kind, *, gateway: str, lifetime: int = MAPPING_LIFETIME) -> str:
    """The whole nftables ruleset of one router with the interfaces `wan` and `lan`.

    `gateway` is its IPv4 address on `lan`, `lifetime` in seconds that of a learnt mapping. There is no hairpin: a
    packet from `lan` to the router's own WAN address dies in silence.
    """
    match kind:
        case Kind.PORT_PRESERVING | Kind.UDP_BLOCKED | Kind.WEB_ONLY | Kind.SLOPPY:
            nat = _PLAIN_NAT.format(masquerade="masquerade")
        case Kind.SYMMETRIC:
            nat = _PLAIN_NAT.format(masquerade="masquerade fully-random")
        case Kind.FULL_CONE:
            nat = _LEARNING_NAT.format(lifetime=lifetime, admitted="")
        case Kind.ADDR_RESTRICTED:
            nat = _LEARNING_NAT.format(lifetime=lifetime, admitted="ip saddr . udp dport @permitted ")
        case Kind.PUBLIC | Kind.DOUBLE:
            raise AssertionError(f"{kind} is not one router")
        case _:
            assert_never(kind)
    return nat + _FILTER.format(
        gateway=gateway,
        wan_input="accept" if kind is Kind.SLOPPY else "drop",
        inspect="jump inspect" if kind is Kind.WEB_ONLY else "",
        leaving=(
            f"tcp dport {{ {', '.join(map(str, OPEN_TCP_PORTS))} }}"
            if kind in (Kind.UDP_BLOCKED, Kind.WEB_ONLY)
            else ""
        ),
    )


_PLAIN_NAT = """
table ip nat {{
  chain postrouting {{
    type nat hook postrouting priority srcnat
    oifname "wan" {masquerade}
  }}
}}
"""

# Endpoint-independent mapping by three tables that every outgoing packet teaches and refreshes. A second host that uses
# a port which is already taken gets a random one, and keeps it for all destinations.
_LEARNING_NAT = """
table ip nat {{
  map inside_of {{
    type inet_service : ipv4_addr . inet_service
    flags dynamic,timeout
    timeout {lifetime}s
  }}
  map outside_of {{
    type ipv4_addr . inet_service : inet_service
    flags dynamic,timeout
    timeout {lifetime}s
  }}
  set permitted {{
    type ipv4_addr . inet_service
    flags dynamic,timeout
    timeout {lifetime}s
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat
    iifname "wan" {admitted}dnat ip to udp dport map @inside_of
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat
    oifname "wan" meta l4proto udp masquerade to :ip saddr . udp sport map @outside_of
    oifname "wan" udp sport @inside_of masquerade fully-random
    oifname "wan" masquerade
  }}
  chain learn_opened {{
    meta l4proto udp update @inside_of {{ ct reply proto-dst : ct original ip saddr . ct original proto-src }}
    meta l4proto udp update @outside_of {{ ct original ip saddr . ct original proto-src : ct reply proto-dst }}
    meta l4proto udp update @permitted {{ ip daddr . ct reply proto-dst }}
  }}
  chain learn_answered {{
    meta l4proto udp update @inside_of {{ ct original proto-dst : ct reply ip saddr . ct reply proto-src }}
    meta l4proto udp update @outside_of {{ ct reply ip saddr . ct reply proto-src : ct original proto-dst }}
    meta l4proto udp update @permitted {{ ip daddr . ct original proto-dst }}
  }}
  chain learn {{
    type filter hook postrouting priority srcnat + 1
    oifname "wan" ct direction original goto learn_opened
    oifname "wan" ct direction reply goto learn_answered
  }}
}}
"""

# `@ih,0,8 >= 0` holds for whatever has a payload at all. Connection marks: 0 not judged yet, 1 passes, 2 is reset.
_FILTER = """
table inet filter {{
  chain input {{
    type filter hook input priority filter
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    iifname "wan" ct state established,related accept
    iifname "wan" {wan_input}
    iifname "lan" ip daddr != {gateway} drop
  }}
  chain judge {{
    iifname "lan" @ih,0,32 0x47455420 ct mark set 1 return
    iifname "lan" @ih,0,16 0x1603 ct mark set 1 return
    ct mark set 2 reject with tcp reset
  }}
  chain inspect {{
    meta l4proto tcp ct mark 2 reject with tcp reset
    meta l4proto tcp ct mark 0 @ih,0,8 >= 0 jump judge
  }}
  chain forward {{
    type filter hook forward priority filter
    policy drop
    {inspect}
    ct state established,related accept
    iifname "wan" ct status dnat accept
    iifname "lan" oifname "wan" {leaving} accept
  }}
}}
"""
