"""The rules of one router of a site, as nftables text. Knows no namespace and runs nothing.

Why a router drops unsolicited packets (`sloppy` does not): an accepted packet becomes a conntrack entry of the router
itself. When a host behind it then sends to that remote, its usual port is taken, and Linux maps it to a random one. The
entry of a dropped packet is never confirmed.
"""

from __future__ import annotations

from tunnel.verify.netlab.kinds import Kind

OPEN_TCP_PORTS = (443, 8080)
"""What still leaves a site whose kind is `udp_blocked` or `web_only`."""

MAPPING_LIFETIME = 180
"""Seconds that a learned mapping lives without traffic, unless the site says otherwise."""

SEQUENTIAL_PORTS = range(40_000, 44_000)
"""The ports of a `symmetric_sequential` router, used one after the other, then from the start again."""

LEARNED_TABLES = ("map ip nat inside_of", "map ip nat outside_of", "set ip nat permitted")
"""The tables that a router that `keeps_tables` must flush in addition to its connections."""


def keeps_tables(kind: Kind, *, hairpin: bool) -> bool:
    """Whether it learns its mappings in tables of its own."""
    return hairpin or kind in (Kind.FULL_CONE, Kind.ADDR_RESTRICTED)


def router_rules(kind: Kind, *, gateway: str | None, lifetime: int = MAPPING_LIFETIME, hairpin: bool = False) -> str:
    """The whole nftables ruleset of one router with the interfaces `wan` and `lan`.

    `gateway` is its IPv4 address on `lan`, if it has one, `lifetime` in seconds that of a learned mapping. Without
    `hairpin` a packet from `lan` to the router's own WAN address dies in silence. `kind` is that of one router.
    """
    return _nat(kind, gateway, lifetime, hairpin) + _FILTER.format(
        not_for_hosts="" if gateway is None else f'iifname "lan" ip daddr != {gateway} drop',
        wan_input="accept" if kind is Kind.SLOPPY else "drop",
        inspect="jump inspect" if kind is Kind.WEB_ONLY else "",
        turning='iifname "lan" oifname "lan" ct status dnat accept' if hairpin else "",
        leaving=(
            f"tcp dport {{ {', '.join(map(str, OPEN_TCP_PORTS))} }}"
            if kind in (Kind.UDP_BLOCKED, Kind.WEB_ONLY)
            else ""
        ),
    )


def _nat(kind: Kind, gateway: str | None, lifetime: int, hairpin: bool) -> str:
    if keeps_tables(kind, hairpin=hairpin):
        return _LEARNING_NAT.format(
            lifetime=lifetime,
            inwards=_INWARDS.get(kind, ""),
            turn_in=_TURN_IN.format(gateway=gateway) if hairpin else "",
            turn_out=_TURN_OUT if hairpin else "",
        )
    match kind:
        case Kind.FIREWALL | Kind.IPV6_ONLY:
            return ""
        case Kind.SYMMETRIC:
            return _PLAIN_NAT.format(masquerade="masquerade fully-random")
        case Kind.SYMMETRIC_SEQUENTIAL:
            return _PLAIN_NAT.format(masquerade=_COUNTING)
        case _:
            return _PLAIN_NAT.format(masquerade="masquerade")


_PLAIN_NAT = """
table ip nat {{
  chain postrouting {{
    type nat hook postrouting priority srcnat
    oifname "wan" {masquerade}
  }}
}}
"""

# The map is there because `numgen` alone gives numbers in host byte order.
_COUNTING = (
    f"meta l4proto udp masquerade to :numgen inc mod {len(SEQUENTIAL_PORTS)} map "
    f"{{ {', '.join(f'{number} : {port}' for number, port in enumerate(SEQUENTIAL_PORTS))} }}\n"
    '    oifname "wan" masquerade'
)

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
    {inwards}
    {turn_in}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat
    {turn_out}
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

_INWARDS = {
    Kind.FULL_CONE: 'iifname "wan" dnat ip to udp dport map @inside_of',
    Kind.ADDR_RESTRICTED: 'iifname "wan" ip saddr . udp dport @permitted dnat ip to udp dport map @inside_of',
}

# What a host sends to its own outer address comes back from that address, so that the answer takes the same way.
_TURN_IN = 'iifname "lan" fib daddr type local ip daddr != {gateway} dnat ip to udp dport map @inside_of'
_TURN_OUT = """
    oifname "lan" udp sport != 0 ct status dnat snat ip to ct original ip daddr :ip saddr . udp sport map @outside_of
    oifname "lan" udp sport != 0 ct status dnat snat ip to ct original ip daddr
"""

# `@ih,0,8 >= 0` holds for whatever has a payload at all. Connection marks: 0 not judged yet, 1 passes, 2 is reset.
_FILTER = """
table inet filter {{
  chain input {{
    type filter hook input priority filter
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    iifname "wan" ct state established,related accept
    iifname "wan" {wan_input}
    {not_for_hosts}
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
    {turning}
    iifname "lan" oifname "wan" {leaving} accept
  }}
}}
"""
