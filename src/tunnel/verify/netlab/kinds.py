"""The kinds of sites: the routers in front of their hosts, and what these do. Knows no namespace, runs nothing.

The words are those of RFC 4787: *mapping* (which external port a local one gets), *filtering* (who may send to it).

    kind                  mapping                      filtering                    made by
    public                none                         open                         no router at all
    firewall              none                         address and port-dependent   a router that only filters by state
    full_cone             endpoint-independent         endpoint-independent         a learned map, DNAT through it
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

from dataclasses import replace
from enum import Enum

from tunnel.model.nat import Filtering, Mapping, NatReport
from tunnel.verify.reachability.nat_chain import NatChain, perfect_report
from tunnel.verify.reachability.nat_kinds import NATS
from tunnel.verify.reachability.topology import Gateway as GatewayBehavior
from tunnel.verify.reachability.topology import Nat, Router, Udp, Unsolicited


class Gateway(Enum):
    """How the hosts of a site may request ports of its router."""

    UPNP = "upnp"
    PCP = "pcp"
    """And NAT-PMP, which uses the same port."""


class Kind(Enum):
    """The behavior of a site's routers."""

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
        """By which protocol the router at the internet grants ports, if it does."""
        return _GATEWAYS.get(self)

    @property
    def has_ipv4(self) -> bool:
        """Whether its hosts have IPv4."""
        return self is not Kind.IPV6_ONLY

    @property
    def hides_hosts(self) -> bool:
        """Whether its hosts have private IPv4 addresses: there is a NAT."""
        return any(router.nat is not None for router in self.chain.routers)

    @property
    def can_hairpin(self) -> bool:
        """Whether the router at the internet keeps one external port for a local one, so that a hairpin is possible."""
        return self.hides_hosts and self.truth.mapping is Mapping.ENDPOINT_INDEPENDENT and self is not Kind.SLOPPY

    @property
    def chain(self) -> NatChain:
        """The same routers as the oracle knows them, without addresses: a lab gives them some."""
        routers = tuple(_BEHAVIORS[kind] for kind in reversed(self.routers))
        if self.gateway is not None:
            routers = (replace(routers[0], gateway=_SPEAKS[self.gateway]), *routers[1:])
        return NatChain(routers=routers, ipv6=not self.has_ipv4, maps_port=self.gateway is not None)

    @property
    def truth(self) -> NatReport:
        """What a perfect survey from a host would report; what stays unknown is not claimed."""
        report = perfect_report(self.chain.routers)
        return report if self.gateway is None else replace(report, port_mapping=self.gateway.value)


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


_SPEAKS = {
    Gateway.UPNP: GatewayBehavior(upnp=True),
    Gateway.PCP: GatewayBehavior(pcp=True, nat_pmp=True),
}


def _router(nat: Nat | None = NATS["port_restricted"], udp: Udp = Udp.OPEN) -> Router:
    return Router(address="", inner="", nat=nat, filtering6=Filtering.ADDRESS_AND_PORT_DEPENDENT, udp=udp)


_BEHAVIORS = {
    Kind.FIREWALL: _router(None),
    Kind.FULL_CONE: _router(NATS["full_cone"]),
    Kind.ADDR_RESTRICTED: _router(NATS["address_restricted"]),
    Kind.PORT_PRESERVING: _router(),
    Kind.SLOPPY: _router(replace(NATS["port_restricted"], unsolicited=Unsolicited.TRACK)),
    Kind.SYMMETRIC: _router(NATS["symmetric"]),
    Kind.SYMMETRIC_SEQUENTIAL: _router(NATS["sequential"]),
    Kind.IPV6_ONLY: _router(None),
    Kind.UDP_BLOCKED: _router(udp=Udp.BLOCKED),
    Kind.WEB_ONLY: _router(udp=Udp.WEB_ONLY),
}
"""The behavior of each single router, in the words of the simulation."""
