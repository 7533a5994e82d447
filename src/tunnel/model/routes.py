"""The ways out of this machine, as its routing table has them: routers and prefixes."""

from __future__ import annotations

from typing import NamedTuple


class Gateway(NamedTuple):
    """A router on this machine's way out, and which of our addresses it knows us by. Both are numeric."""

    address: str
    """A link-local IPv6 address has its zone: `fe80::1%eth0`."""
    own: str
    """For IPv6 a global one: what peers are told, and the router's firewall filters."""

    @property
    def is_ipv6(self) -> bool:
        """Whether it leads into the IPv6 internet."""
        return ":" in self.own


class Route(NamedTuple):
    """Where this machine sends packets to an IPv4 prefix, which is not the default one."""

    prefix: str
    interface: str
    """Its name; empty where there are several."""
    is_shared: bool
    """Others may be at any of its addresses: a LAN, or what lies behind a router. False for the end of a tunnel."""
