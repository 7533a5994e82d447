"""Which IPv4 prefixes a tunnel may use: a server that could lease any prefix could take over any route of a machine."""

from __future__ import annotations

import ipaddress

POOLS = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15")
)
"""RFC 1918, RFC 6598, RFC 2544."""
PREFIX_LENGTHS = range(8, 31)


def is_pool(network: ipaddress.IPv4Network) -> bool:
    """Whether a server may lease addresses from this prefix, and a node accept them."""
    return network.prefixlen in PREFIX_LENGTHS and any(network.subnet_of(pool) for pool in POOLS)
