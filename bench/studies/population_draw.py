"""Two endpoints of the population, as a topology.

home       host -- router -- internet
carrier    host -- router -- carrier's NAT -- internet
mobile     host -- carrier's NAT -- internet
public     host -- firewall -- internet
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.studies.choices import Chooser, Dice, evenly, whether
from bench.studies.population_mix import Mix

from tunnel.model.nat import Allocation, Filtering, Mapping
from tunnel.model.settings import PUBLIC_STUN
from tunnel.verify.reachability.topology import (
    UNANSWERED_LIFETIME,
    Gateway,
    Hairpinning,
    Host,
    Line,
    Nat,
    Refresh,
    Router,
    StunServer,
    Topology,
    Udp,
)

INDOORS = Line(latency=0.001)
"""The line from a host to the router at home."""
SIDES = ("one", "other")


@dataclass(frozen=True, slots=True)
class Site:
    """One host with all routers in front of it, the nearest first."""

    host: Host
    routers: dict[str, Router]


def draw_pair(mix: Mix, chance: random.Random, *, blocked: Sequence[str] = ()) -> Topology:
    """Two endpoints, `one` and `other`, with a server and the ten public STUN servers.

    `blocked` are names that neither of them reaches, whatever is drawn: the same chance gives the same pair.
    """
    dice = Dice(chance)
    one, other = (draw_site(mix, dice, name, number) for number, name in enumerate(SIDES, start=1))
    outer = [list(site.routers)[-1] for site in (one, other)]
    ways = ((outer[0], outer[1]), (outer[0], "server"), (outer[1], "server"))
    routers = {**one.routers, **other.routers}
    for name in outer:
        routers[name] = replace(routers[name], blocked=tuple(blocked))
    return Topology(
        hosts=dict(zip(SIDES, (one.host, other.host), strict=True)),
        routers=dict(reversed(routers.items())),
        stun_servers=public_stun_servers(),
        latency=dice.vary(*evenly(mix.latency.core)),
        latencies={way: dice.vary(*evenly(mix.latency.core)) for way in ways},
    )


def public_stun_servers() -> tuple[StunServer, ...]:
    """The servers that nodes ask by default, all alive and honest."""
    named = [known.rpartition(":") for known in PUBLIC_STUN]
    return tuple(
        StunServer(name=name, address=f"24.0.{number}.1", port=int(port))
        for number, (name, _, port) in enumerate(named, start=1)
    )


def draw_site(mix: Mix, choose: Chooser, name: str, number: int) -> Site:
    """One endpoint; `name` begins the names of its routers, `number` (1 to 255) keeps its addresses apart."""
    access = mix.access
    draw = choose.pick(
        (_draw_home, access.fixed * (1.0 - access.fixed_behind_carrier)),
        (_draw_home_behind_carrier, access.fixed * access.fixed_behind_carrier),
        (_draw_mobile, (1.0 - access.fixed) * access.mobile_behind_carrier),
        (_draw_public, (1.0 - access.fixed) * (1.0 - access.mobile_behind_carrier)),
    )
    site = draw(mix, choose, name, number)
    nearest = next(iter(site.routers))
    router = replace(
        site.routers[nearest],
        udp=Udp.BLOCKED if choose.pick(*whether(mix.habits.udp_blocked)) else Udp.OPEN,
    )
    host = site.host
    if choose.pick(*whether(mix.ipv6.endpoints)):
        host = replace(host, addresses=(*host.addresses, f"2001:db8:{number:x}::2"))
    return Site(host, {**site.routers, nearest: router})


def _draw_home(mix: Mix, choose: Chooser, name: str, number: int) -> Site:
    home = Router(
        address=f"26.0.{number}.1",
        inner=f"192.168.{number}.1",
        nat=_draw_nat(mix, choose, mix.dependent.home, mix.lifetimes.home, foreign_loads=(0.0,)),
        filtering6=choose.vary(*_firewalls(mix)),
        gateway=Gateway(upnp=choose.pick(*whether(mix.habits.upnp))),
        line=_draw_line(choose, mix.latency.fixed),
    )
    return Site(_indoors(f"{name}-home", number), {f"{name}-home": home})


def _draw_home_behind_carrier(mix: Mix, choose: Chooser, name: str, number: int) -> Site:
    home = Router(
        address=f"100.64.{number}.2",
        inner=f"192.168.{number}.1",
        behind=f"{name}-carrier",
        nat=_draw_nat(mix, choose, mix.dependent.home, mix.lifetimes.home, foreign_loads=(0.0,)),
        filtering6=choose.vary(*_firewalls(mix)),
        line=_draw_line(choose, mix.latency.fixed),
    )
    carrier = _draw_carrier(mix, choose, number, mix.dependent.fixed_carrier, mix.lifetimes.fixed_carrier)
    return Site(_indoors(f"{name}-home", number), {f"{name}-home": home, f"{name}-carrier": carrier})


def _draw_mobile(mix: Mix, choose: Chooser, name: str, number: int) -> Site:
    carrier = _draw_carrier(mix, choose, number, mix.dependent.mobile_carrier, mix.lifetimes.mobile_carrier)
    carrier = replace(carrier, filtering6=choose.vary(*_firewalls(mix)))
    line = _draw_line(choose, mix.latency.mobile)
    return Site(
        Host(addresses=(f"100.64.{number}.2",), behind=f"{name}-carrier", line=line), {f"{name}-carrier": carrier}
    )


def _draw_public(mix: Mix, choose: Chooser, name: str, number: int) -> Site:
    """A firewall that treats IPv4 like IPv6, since it translates neither."""
    firewall = Router(
        address=f"26.0.{number}.1", inner=f"27.0.{number}.1", nat=None, filtering6=choose.pick(*_firewalls(mix))
    )
    line = _draw_line(choose, mix.latency.mobile)
    return Site(
        Host(addresses=(f"27.0.{number}.2",), behind=f"{name}-firewall", line=line), {f"{name}-firewall": firewall}
    )


def _draw_carrier(mix: Mix, choose: Chooser, number: int, dependent: float, lifetimes: Sequence[float]) -> Router:
    """It leaves IPv6 to the routers of its customers, if they have any."""
    return Router(
        address=f"26.0.{number}.1",
        inner=f"100.64.{number}.1",
        nat=_draw_nat(mix, choose, dependent, lifetimes, foreign_loads=mix.ports.foreign_loads),
        filtering6=Filtering.NONE,
    )


def _indoors(behind: str, number: int) -> Host:
    return Host(addresses=(f"192.168.{number}.2",), behind=behind, line=INDOORS)


def _draw_line(choose: Chooser, latencies: Sequence[float]) -> Line:
    return Line(latency=choose.vary(*evenly(latencies)))


def _firewalls(mix: Mix) -> tuple[tuple[Filtering, float], ...]:
    return (
        (Filtering.ENDPOINT_INDEPENDENT, mix.ipv6.open),
        (Filtering.ADDRESS_AND_PORT_DEPENDENT, 1.0 - mix.ipv6.open),
    )


def _draw_nat(
    mix: Mix, choose: Chooser, dependent: float, lifetimes: Sequence[float], foreign_loads: Sequence[float]
) -> Nat:
    lifetime = choose.vary(*evenly(lifetimes))
    nat = Nat(
        lifetime=lifetime,
        unanswered_lifetime=min(UNANSWERED_LIFETIME, lifetime),
        refresh=Refresh.BOTH if choose.vary(*whether(mix.habits.inbound_refresh)) else Refresh.OUTBOUND,
        hairpinning=Hairpinning.EXTERNAL_SOURCE if choose.vary(*whether(mix.habits.hairpin)) else Hairpinning.NONE,
    )
    if not choose.pick(*whether(dependent)):
        filterings, allocations = mix.filtering, mix.allocation
        return replace(
            nat,
            filtering=choose.pick(
                (Filtering.ENDPOINT_INDEPENDENT, filterings.endpoint_independent),
                (Filtering.ADDRESS_DEPENDENT, filterings.address_dependent),
                (Filtering.ADDRESS_AND_PORT_DEPENDENT, filterings.address_and_port_dependent),
            ),
            allocation=choose.pick(
                (Allocation.PRESERVING, allocations.preserving),
                (Allocation.SEQUENTIAL, allocations.sequential),
                (Allocation.RANDOM, allocations.random),
            ),
        )
    hard = replace(nat, mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT)
    shares = mix.dependent_allocation
    match choose.pick(
        (Allocation.RANDOM, shares.random),
        (Allocation.BLOCK, shares.block),
        (Allocation.SEQUENTIAL, shares.sequential),
    ):
        case Allocation.BLOCK:
            size = choose.pick(*evenly(mix.ports.block_sizes))
            return replace(hard, allocation=Allocation.BLOCK, block_size=size)
        case Allocation.SEQUENTIAL:
            load = choose.pick(*evenly(foreign_loads))
            return replace(hard, allocation=Allocation.SEQUENTIAL, foreign_load=load)
        case _:
            return replace(hard, allocation=Allocation.RANDOM)
