"""Where a host stands, and what the routers in front of it amount to, as RFC 4787 adds them up. Pure.

host -- router -- router -- router -- internet
        `---- own ----'    `-- shared with the other host
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from tunnel.model.nat import Allocation, Filtering, Mapping
from tunnel.simulation.internet.picture import Lie, Nat, Picture, Router

PUNCH = 10.0
"""Seconds that a punch may take."""
PREDICTABLE_LOAD = 35.0
"""Foreign mappings a second under which a sequential port can be foretold (Klinec and Matyas 2014)."""
LEARNABLE_BLOCK = 2048
"""Ports: with 2,048 probes a side, two unknown ports in blocks of this size meet in 1 - exp(-1) = 63 % of all cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
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
class Stage:
    """One router on the way out, as the other side meets it."""

    mapping: Mapping
    filtering: Filtering
    in_reach: bool = True
    """Its next port can be foretold, is one of few, or is the one that is known."""
    expires: bool = False
    """What STUN servers saw may be gone within a punch, and its port with it."""

    @property
    def is_steady(self) -> bool:
        """Whether it shows one port to all remotes."""
        return self.mapping in STEADY


Side: TypeAlias = tuple[Stage, ...]
"""The stages in front of a host, the nearest first. Two NATs in a row come out as the worse of each dimension."""


def standings(picture: Picture, one: str, other: str, *, maps_port: bool = False) -> tuple[Standing, Standing]:
    """Where two hosts of a picture stand."""
    chains = [_routers_before(picture, name) for name in (one, other)]
    shared = len([name for name in chains[0] if name in chains[1]])
    first, second = (
        Standing(
            routers=tuple(picture.routers[router] for router in chain),
            shared=shared,
            ipv6=any(":" in address for address in picture.hosts[name].addresses),
            maps_port=maps_port,
        )
        for name, chain in zip((one, other), chains, strict=True)
    )
    return first, second


def side_of(routers: Sequence[Router], standing: Standing) -> Side:
    """The stages that some routers of a standing are, the nearest first."""
    return tuple(
        _stage_of(router, _asked_for_port(router) if standing.maps_port and not place else router.nat)
        for place, router in enumerate(routers)
    )


def _stage_of(router: Router, nat: Nat | None) -> Stage:
    if nat is None:
        return Stage(Mapping.NONE, router.filtering6)
    if nat.mapping in (Mapping.UNKNOWN, Mapping.DEPENDENT) or nat.filtering is Filtering.UNKNOWN:
        raise ValueError("a picture says how a NAT maps and filters")
    return Stage(nat.mapping, nat.filtering, _is_in_reach(nat) or nat.mapping in STEADY, _expires(nat))


def _asked_for_port(router: Router) -> Nat | None:
    """A mapped port is endpoint-independent both ways (RFC 6887, section 11); a gateway that lies is worth nothing."""
    gateway = router.gateway
    maps = (gateway.upnp or gateway.nat_pmp or gateway.pcp) and gateway.lie is Lie.NONE
    if router.nat is None or not maps:
        return router.nat
    return replace(
        router.nat, mapping=Mapping.ENDPOINT_INDEPENDENT, filtering=Filtering.ENDPOINT_INDEPENDENT, lifetime=PUNCH
    )


def _is_in_reach(nat: Nat) -> bool:
    ports = nat.last_port - nat.first_port + 1
    match nat.allocation:
        case Allocation.PRESERVING:
            return True  # the own port if it is free, else the next above: as good as sequential
        case Allocation.SEQUENTIAL:
            return nat.foreign_load <= PREDICTABLE_LOAD or ports <= LEARNABLE_BLOCK
        case Allocation.BLOCK:
            return min(nat.block_size, ports) <= LEARNABLE_BLOCK
        case Allocation.RANDOM:
            return ports <= LEARNABLE_BLOCK
        case Allocation.UNKNOWN:
            raise ValueError("a picture says how ports are chosen")


def _expires(nat: Nat) -> bool:
    keeps_port = nat.allocation is Allocation.PRESERVING or nat.mapping is Mapping.NONE
    return nat.lifetime < PUNCH and not keeps_port


def _routers_before(picture: Picture, host: str) -> list[str]:
    """Their names, the nearest first."""
    names = []
    name = picture.hosts[host].behind
    while name is not None:
        names.append(name)
        name = picture.routers[name].behind
    return names
