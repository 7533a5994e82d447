"""The routers in front of a host, and what they amount to together, in the terms of RFC 4787. Pure.

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
"""Seconds that hole punching may take."""
FORESIGHT = 1.0
"""Seconds from reading a port counter to using a predicted port, at most. What others take meanwhile is unknown.

Klinec and Matyas (2014) predict ports at up to 35 foreign mappings a second, which leaves 36 candidates here.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NatChain:
    """The routers in front of a host, the nearest first."""

    routers: tuple[Router, ...] = ()
    shared: int = 0
    """How many of them, counted from the internet, are also in front of the other host."""
    ipv6: bool = False
    maps_port: bool = False
    """Whether its node asks the nearest router for a port mapping."""

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
    """Among how many ports its next one is, given all that can be learned: 1 if it is known or predicted."""
    keeps_port: bool = False
    """Its outer port equals the inner one: the candidates inside are those outside."""
    expires: bool = False
    """The mapping that STUN servers saw may expire during hole punching, and its port may change."""

    @property
    def is_steady(self) -> bool:
        """Whether it shows one port to all remotes."""
        return self.mapping in STEADY


Side: TypeAlias = tuple[Hop, ...]
"""The routers in front of a host as hops, the nearest first."""


def reach_of(side: Side) -> int:
    """Among how many ports the next outer port of a side is, if it needs a new one.

    From the first NAT with dependent mapping on, each one further out gives a new port too; the outermost chooses it.
    """
    reach, is_new = 1, False
    for hop in side:
        is_new = is_new or not hop.is_steady
        if is_new:
            reach = max(reach if hop.keeps_port else 1, hop.reach)
    return reach


def nat_chains(topology: Topology, one: str, other: str, *, maps_port: bool = False) -> tuple[NatChain, NatChain]:
    """The chains in front of two hosts of a topology."""
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
    """Some routers of a chain as hops, the nearest first."""
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
        raise ValueError("a topology says how a NAT maps and filters")
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
            raise ValueError("a topology says how ports are chosen")


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
