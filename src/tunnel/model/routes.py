"""The routers and prefixes in this machine's routing table."""

from __future__ import annotations

from typing import NamedTuple


class Gateway(NamedTuple):
    """A router that this machine sends through, and our address on its side. Both are numeric."""

    address: str
    """A link-local IPv6 address has its zone: `fe80::1%eth0`."""
    own: str
    """For IPv6 a global one: the address that peers are told and that the router's firewall filters."""

    @property
    def is_ipv6(self) -> bool:
        """Whether it leads into the IPv6 internet."""
        return ":" in self.own


class Route(NamedTuple):
    """Where this machine sends packets for one IPv4 prefix; never the default route."""

    prefix: str
    interface: str
    """Its name; empty if there are several."""
    is_shared: bool
    """Others may have any of its addresses: a LAN, or what lies behind a router. False for the end of a tunnel."""
