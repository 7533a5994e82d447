"""Where a host stands, and what the routers in front of it amount to, as RFC 4787 adds them up. Pure.

host -- router -- router -- router -- internet
        `---- own ----'    `-- shared with the other host
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from tunnel.model.nat import Allocation, Filtering, Hairpin, Mapping, NatReport
from tunnel.model.nat import Udp as SeenUdp
from tunnel.verify.reachability.topology import Hairpinning, Lie, Nat, Router, Topology, Udp

PUNCH = 10.0
"""Seconds that a punch may take."""
FORESIGHT = 1.0
"""Seconds from the sight of a counter to the use of what it gives next, at most: what others take meanwhile is unknown.

Klinec and Matyas (2014) foretell ports up to 35 foreign mappings a second; those that are 1 in 36 are few, as theirs.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NatChain:
    """Where a host stands: the routers in front of it, the nearest first."""

    routers: tuple[Router, ...] = ()
    shared: int = 0
    """So many of them, counted from the internet, are also in front of the other host."""
    ipv6: bool = False
    maps_port: bool = False
    """Its node asks the nearest router for a port."""

    @property
    def own(self) -> tuple[Router, ...]:
        """The routers that are in front of this host alone."""
        return self.routers[: len(self.routers) - self.shared]

    @property
    def common(self) -> tuple[Router, ...]:
        """The shared ones, the nearest first."""
        return self.routers[len(self.routers) - self.shared :]


STEADY = frozenset({Mapping.NONE, Mapping.ENDPOINT_INDEPENDENT})
OPEN = frozenset({Filtering.NONE, Filtering.ENDPOINT_INDEPENDENT})


@dataclass(frozen=True, slots=True)
class Hop:
    """One router on the way out, as the other side meets it."""

    mapping: Mapping
    filtering: Filtering
    reach: int = 1
    """Of how many ports its next one is, given all that can be learned: 1 for one that is known or foretold."""
    keeps_port: bool = False
    """The port behind it is the one before it: what is in reach there is in reach here."""
    expires: bool = False
    """What STUN servers saw may be gone within a punch, and its port with it."""

    @property
    def is_steady(self) -> bool:
        """Whether it shows one port to all remotes."""
        return self.mapping in STEADY


Side: TypeAlias = tuple[Hop, ...]
"""The stages in front of a host, the nearest first. Two NATs in a row come out as the worse of each dimension."""


def reach_of(side: Side) -> int:
    """Of how many ports the next outer port of a side is, if a new one is needed.

    From the first NAT with dependent mapping on each one further out gives a new port too; the outermost chooses it.
    """
    reach, is_new = 1, False
    for hop in side:
        is_new = is_new or not hop.is_steady
        if is_new:
            reach = max(reach if hop.keeps_port else 1, hop.reach)
    return reach


def nat_chains(topology: Topology, one: str, other: str, *, maps_port: bool = False) -> tuple[NatChain, NatChain]:
    """Where two hosts of a picture stand."""
    chains = [_routers_before(topology, name) for name in (one, other)]
    shared = len([name for name in chains[0] if name in chains[1]])
    first, second = (
        NatChain(
            routers=tuple(topology.routers[router] for router in chain),
            shared=shared,
            ipv6=any(":" in address for address in topology.hosts[name].addresses),
            maps_port=maps_port,
        )
        for name, chain in zip((one, other), chains, strict=True)
    )
    return first, second


def side_of(routers: Sequence[Router], nat_chain: NatChain) -> Side:
    """The stages that some routers of a standing are, the nearest first."""
    return tuple(
        _hop_of(router, _asked_for_port(router) if nat_chain.maps_port and not place else router.nat)
        for place, router in enumerate(routers)
    )


def perfect_report(routers: Sequence[Router]) -> NatReport:
    """What a perfect survey from a host behind these routers, the nearest first, would report.

    Of each dimension the strictest counts; the outermost NAT that gives new ports chooses them.
    """
    if any(router.udp is not Udp.OPEN for router in routers):
        return NatReport(udp=SeenUdp.BLOCKED)
    hops = [_hop_of(router, router.nat) for router in routers]
    mapping = max((hop.mapping for hop in hops), key=list(Mapping).index, default=Mapping.NONE)
    filtering = max((hop.filtering for hop in hops), key=list(Filtering).index, default=Filtering.NONE)
    nats = [router.nat for router in routers if router.nat is not None]
    if not nats:
        return NatReport(mapping=mapping, filtering=filtering, udp=SeenUdp.OPEN)
    chooser = next((nat for nat in reversed(nats) if nat.allocation is not Allocation.PRESERVING), nats[-1])
    return NatReport(
        mapping=mapping,
        filtering=filtering,
        allocation=chooser.allocation,
        hairpin=Hairpin.NO if nats[-1].hairpinning is Hairpinning.NONE else Hairpin.YES,
        udp=SeenUdp.OPEN,
        step=chooser.step if chooser.allocation is Allocation.SEQUENTIAL else 0,
    )


def _hop_of(router: Router, nat: Nat | None) -> Hop:
    if nat is None:
        return Hop(Mapping.NONE, router.filtering6)
    if nat.mapping in (Mapping.UNKNOWN, Mapping.DEPENDENT) or nat.filtering is Filtering.UNKNOWN:
        raise ValueError("a picture says how a NAT maps and filters")
    keeps_port = nat.allocation is Allocation.PRESERVING
    return Hop(nat.mapping, nat.filtering, _reach(nat), keeps_port=keeps_port, expires=_expires(nat))


def _asked_for_port(router: Router) -> Nat | None:
    """A mapped port is endpoint-independent both ways (RFC 6887, section 11); a gateway that lies is worth nothing."""
    gateway = router.gateway
    maps = (gateway.upnp or gateway.nat_pmp or gateway.pcp) and gateway.lie is Lie.NONE
    if router.nat is None or not maps:
        return router.nat
    return replace(
        router.nat, mapping=Mapping.ENDPOINT_INDEPENDENT, filtering=Filtering.ENDPOINT_INDEPENDENT, lifetime=PUNCH
    )


def _reach(nat: Nat) -> int:
    ports = nat.last_port - nat.first_port + 1
    match nat.allocation:
        case Allocation.PRESERVING:
            return 1  # the own port if it is free, else the next above
        case Allocation.SEQUENTIAL:
            return min(ports, 1 + round(nat.foreign_load * FORESIGHT))
        case Allocation.BLOCK:
            return min(nat.block_size, ports)
        case Allocation.RANDOM:
            return ports
        case Allocation.UNKNOWN:
            raise ValueError("a picture says how ports are chosen")


def _expires(nat: Nat) -> bool:
    keeps_port = nat.allocation is Allocation.PRESERVING or nat.mapping is Mapping.NONE
    return nat.lifetime < PUNCH and not keeps_port


def _routers_before(topology: Topology, host: str) -> list[str]:
    """Their names, the nearest first."""
    names = []
    name = topology.hosts[host].behind
    while name is not None:
        names.append(name)
        name = topology.routers[name].behind
    return names
