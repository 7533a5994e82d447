"""IPv4 addresses as hosts that have only IPv6 write them (RFC 6052), and how the prefix is found by name (RFC 7050).

prefix /96   64:ff9b::              + 25.0.0.1 -> 64:ff9b::1900:1
prefix /64   2001:db8:1:2::         + 25.0.0.1 -> 2001:db8:1:2:19:0:100:0      bits 64 to 71 stay 0
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from tunnel.model.endpoint import Endpoint, Scope, packed_host, scope_of

_LENGTHS = (96, 64, 56, 48, 40, 32)
"""RFC 6052 section 2.2; the usual ones first."""
_RESERVED = 8
"""The byte that stays 0."""
MAX_PREFIXES = 4
"""Each one multiplies the endpoints to try, and whoever can answer in the resolver's place chooses them."""
MAX_ADDRESSES = 64
"""How many addresses of an answer are looked at. Two are enough to show a prefix."""
WELL_KNOWN_NAME = "ipv4only.arpa"
_WELL_KNOWN_ADDRESSES = (bytes((192, 0, 0, 170)), bytes((192, 0, 0, 171)))


@dataclass(frozen=True, slots=True)
class Nat64Prefix:
    """A prefix behind which a NAT64 offers the IPv4 internet; `str` gives it as PREFIX/LENGTH."""

    network: ipaddress.IPv6Network

    def embed(self, ipv4: str) -> str:
        """The IPv6 address that leads to this IPv4 one."""
        octets = bytearray(self.network.network_address.packed[: self.network.prefixlen // 8])
        for octet in packed_host(ipv4):
            if len(octets) == _RESERVED:
                octets.append(0)
            octets.append(octet)
        return str(ipaddress.IPv6Address(bytes(octets.ljust(16, b"\0"))))

    def reach(self, endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """The IPv6 endpoints that lead to the global IPv4 ones among these; private addresses are left out."""
        return tuple(
            Endpoint(self.embed(endpoint.host), endpoint.port)
            for endpoint in endpoints
            if not endpoint.is_ipv6 and scope_of(endpoint.host) is Scope.GLOBAL
        )

    def holds(self, host: str) -> bool:
        """Whether this address leads through the NAT64."""
        return ":" in host and ipaddress.IPv6Address(packed_host(host)) in self.network

    def __str__(self) -> str:
        return str(self.network)


WELL_KNOWN_PREFIX = Nat64Prefix(ipaddress.IPv6Network("64:ff9b::/96"))


def prefixes_in(addresses: Sequence[str]) -> tuple[Nat64Prefix, ...]:
    """The prefixes in the IPv6 addresses of `WELL_KNOWN_NAME`, which itself has only IPv4 addresses. Each prefix once.

    At most MAX_PREFIXES of them, from the first MAX_ADDRESSES addresses.
    """
    told = islice((address for address in addresses if ":" in address), MAX_ADDRESSES)
    found = (_prefix_of(address) for address in told)
    return tuple(dict.fromkeys(prefix for prefix in found if prefix is not None))[:MAX_PREFIXES]


def _prefix_of(address: str) -> Nat64Prefix | None:
    packed = packed_host(address)
    for length in _LENGTHS:
        prefix = Nat64Prefix(ipaddress.IPv6Network((packed, length), strict=False))
        if any(packed_host(prefix.embed(str(ipaddress.IPv4Address(one)))) == packed for one in _WELL_KNOWN_ADDRESSES):
            return prefix
    return None
