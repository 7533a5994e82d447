"""The kinds of sites: which routers stand in front of their hosts, and what those do. Knows no namespace, runs nothing.

The words are those of RFC 4787: *mapping* (which external port a local one gets), *filtering* (who may send to it).

    kind                  mapping                      filtering                    made by
    public                none                         open                         no router at all
    firewall              none                         address and port-dependent   a router that only filters by state
    full_cone             endpoint-independent         endpoint-independent         a learnt map, DNAT through it
    addr_restricted       endpoint-independent         address-dependent            the map, for remotes spoken to
    port_preserving       endpoint-independent         address and port-dependent   masquerade, WAN input dropped
    sloppy                as above, until poisoned     address and port-dependent   masquerade, WAN input accepted
    symmetric             address and port-dependent   address and port-dependent   masquerade fully-random
    symmetric_sequential  address and port-dependent   address and port-dependent   masquerade to a counting port
    double                two port_preserving routers in series, a private network between them
    cgnat                 a home's port_preserving router behind a carrier's, 100.64/10 between them
    cgnat_symmetric       the same behind a carrier's symmetric router
    upnp, pcp             a port_preserving router that opens ports on request: by UPnP, by PCP and NAT-PMP
    upnp_symmetric, pcp_symmetric   the same over a symmetric NAT
    ipv6_only             none: routed IPv6 behind a filter by state, no IPv4 at all
    udp_blocked           only TCP to a few ports leaves, all else is dropped without a word
    web_only              the same, and a TCP stream that begins neither with `GET ` nor with a TLS handshake is reset
"""

from __future__ import annotations

from enum import Enum

from tunnel.model.nat import Allocation, Filtering, Hairpin, Mapping, NatReport, Udp


class Gateway(Enum):
    """How the hosts of a site may ask its router for a port."""

    UPNP = "upnp"
    PCP = "pcp"
    """And NAT-PMP, which lives on the same port."""


class Kind(Enum):
    """The behaviour of a site's routers."""

    PUBLIC = "public"
    FIREWALL = "firewall"
    FULL_CONE = "full_cone"
    ADDR_RESTRICTED = "addr_restricted"
    PORT_PRESERVING = "port_preserving"
    SLOPPY = "sloppy"
    SYMMETRIC = "symmetric"
    SYMMETRIC_SEQUENTIAL = "symmetric_sequential"
    DOUBLE = "double"
    CGNAT = "cgnat"
    CGNAT_SYMMETRIC = "cgnat_symmetric"
    UPNP = "upnp"
    UPNP_SYMMETRIC = "upnp_symmetric"
    PCP = "pcp"
    PCP_SYMMETRIC = "pcp_symmetric"
    IPV6_ONLY = "ipv6_only"
    UDP_BLOCKED = "udp_blocked"
    WEB_ONLY = "web_only"

    @property
    def routers(self) -> tuple[Kind, ...]:
        """The routers of such a site, the one at the internet first."""
        return _ROUTERS.get(self, (self,))

    @property
    def gateway(self) -> Gateway | None:
        """Whether the router at the internet can be asked for ports."""
        return _GATEWAYS.get(self)

    @property
    def has_ipv4(self) -> bool:
        """All but one."""
        return self is not Kind.IPV6_ONLY

    @property
    def hides_hosts(self) -> bool:
        """Whether its hosts have private IPv4 addresses: there is a NAT."""
        return self not in (Kind.PUBLIC, Kind.FIREWALL, Kind.IPV6_ONLY)

    @property
    def can_hairpin(self) -> bool:
        """Whether the router at the internet keeps one external port for a local one, to which a way back can lead."""
        return self.hides_hosts and self.truth.mapping is Mapping.ENDPOINT_INDEPENDENT and self is not Kind.SLOPPY

    @property
    def truth(self) -> NatReport:
        """What a perfect survey from a host would report; what stays unknown is not claimed."""
        return _TRUTHS[self]


_ROUTERS: dict[Kind, tuple[Kind, ...]] = {
    Kind.PUBLIC: (),
    Kind.DOUBLE: (Kind.PORT_PRESERVING, Kind.PORT_PRESERVING),
    Kind.CGNAT: (Kind.PORT_PRESERVING, Kind.PORT_PRESERVING),
    Kind.CGNAT_SYMMETRIC: (Kind.SYMMETRIC, Kind.PORT_PRESERVING),
    Kind.UPNP: (Kind.PORT_PRESERVING,),
    Kind.UPNP_SYMMETRIC: (Kind.SYMMETRIC,),
    Kind.PCP: (Kind.PORT_PRESERVING,),
    Kind.PCP_SYMMETRIC: (Kind.SYMMETRIC,),
}
_GATEWAYS = {
    Kind.UPNP: Gateway.UPNP,
    Kind.UPNP_SYMMETRIC: Gateway.UPNP,
    Kind.PCP: Gateway.PCP,
    Kind.PCP_SYMMETRIC: Gateway.PCP,
}


def _easy(filtering: Filtering, port_mapping: str = "none") -> NatReport:
    return NatReport(
        mapping=Mapping.ENDPOINT_INDEPENDENT,
        filtering=filtering,
        allocation=Allocation.PRESERVING,
        hairpin=Hairpin.NO,
        udp=Udp.OPEN,
        port_mapping=port_mapping,
    )


def _hard(allocation: Allocation, port_mapping: str = "none", step: int = 0) -> NatReport:
    return NatReport(
        mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT,
        filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT,
        allocation=allocation,
        hairpin=Hairpin.NO,
        udp=Udp.OPEN,
        port_mapping=port_mapping,
        step=step,
    )


def _unmapped(filtering: Filtering) -> NatReport:
    return NatReport(mapping=Mapping.NONE, filtering=filtering, udp=Udp.OPEN)


_TRUTHS = {
    Kind.PUBLIC: _unmapped(Filtering.NONE),
    Kind.FIREWALL: _unmapped(Filtering.ADDRESS_AND_PORT_DEPENDENT),
    Kind.FULL_CONE: _easy(Filtering.ENDPOINT_INDEPENDENT),
    Kind.ADDR_RESTRICTED: _easy(Filtering.ADDRESS_DEPENDENT),
    Kind.PORT_PRESERVING: _easy(Filtering.ADDRESS_AND_PORT_DEPENDENT),
    Kind.SLOPPY: _easy(Filtering.ADDRESS_AND_PORT_DEPENDENT),
    Kind.SYMMETRIC: _hard(Allocation.RANDOM),
    Kind.SYMMETRIC_SEQUENTIAL: _hard(Allocation.SEQUENTIAL, step=1),
    Kind.DOUBLE: _easy(Filtering.ADDRESS_AND_PORT_DEPENDENT),
    Kind.CGNAT: _easy(Filtering.ADDRESS_AND_PORT_DEPENDENT),
    Kind.CGNAT_SYMMETRIC: _hard(Allocation.RANDOM),
    Kind.UPNP: _easy(Filtering.ADDRESS_AND_PORT_DEPENDENT, "upnp"),
    Kind.UPNP_SYMMETRIC: _hard(Allocation.RANDOM, "upnp"),
    Kind.PCP: _easy(Filtering.ADDRESS_AND_PORT_DEPENDENT, "pcp"),
    Kind.PCP_SYMMETRIC: _hard(Allocation.RANDOM, "pcp"),
    Kind.IPV6_ONLY: _unmapped(Filtering.ADDRESS_AND_PORT_DEPENDENT),
    Kind.UDP_BLOCKED: NatReport(udp=Udp.BLOCKED),
    Kind.WEB_ONLY: NatReport(udp=Udp.BLOCKED),
}
