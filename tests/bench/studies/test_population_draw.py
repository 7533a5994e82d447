from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from bench.studies.population_draw import SIDES, draw_pair
from bench.studies.population_mix import FILE, read_mix

from tunnel.model.nat import Filtering, Mapping
from tunnel.verify.reachability.nat_chain import nat_chains
from tunnel.verify.reachability.topology import Topology, Udp
from tunnel.verify.simulation.scenarios.library import simulations_folder

MIX = read_mix(simulations_folder() / FILE)
PAIRS = 1500


@pytest.fixture(scope="module")
def topologies() -> list[Topology]:
    return [draw_pair(MIX, random.Random(f"{number}/pair")) for number in range(PAIRS)]


def share_of(topologies: list[Topology], kind: str) -> float:
    """The share of endpoints whose nearest router has such a name."""
    names = Counter(topology.hosts[side].behind for topology in topologies for side in SIDES)
    return sum(count for name, count in names.items() if name is not None and name.endswith(kind)) / 2 / PAIRS


def test_endpoints_come_in_the_shares_of_the_mix(topologies: list[Topology]) -> None:
    assert share_of(topologies, "-home") == pytest.approx(0.70, abs=0.03)
    assert share_of(topologies, "-carrier") == pytest.approx(0.30 * 0.92, abs=0.03)
    assert share_of(topologies, "-firewall") == pytest.approx(0.30 * 0.08, abs=0.01)
    routers = [router for topology in topologies for router in topology.routers.values()]
    assert sum(router.udp is Udp.BLOCKED for router in routers) / 2 / PAIRS == pytest.approx(0.04, abs=0.012)
    hosts = [host for topology in topologies for host in topology.hosts.values()]
    assert sum(len(host.addresses) == 2 for host in hosts) / 2 / PAIRS == pytest.approx(0.5, abs=0.03)


def test_about_one_endpoint_in_seven_is_hard(topologies: list[Topology]) -> None:
    sides = [nat_chain for topology in topologies for nat_chain in nat_chains(topology, *SIDES)]
    hard = [
        nat_chain
        for nat_chain in sides
        if any(
            router.nat is not None and router.nat.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT
            for router in nat_chain.routers
        )
    ]
    assert len(hard) / len(sides) == pytest.approx(0.137, abs=0.02)


def test_ports_can_be_asked_for_at_home_only(topologies: list[Topology]) -> None:
    homes = [
        router
        for topology in topologies
        for name, router in topology.routers.items()
        if name.endswith("-home") and router.behind is None
    ]
    asked = [router for topology in topologies for router in topology.routers.values() if router.gateway.upnp]
    assert all(router in homes for router in asked)
    assert len(asked) / len(homes) == pytest.approx(0.35, abs=0.03)


def test_a_dependent_nat_filters_by_address_and_port(topologies: list[Topology]) -> None:
    nats = [router.nat for topology in topologies for router in topology.routers.values() if router.nat is not None]
    hard = [nat for nat in nats if nat.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT]
    assert hard
    assert all(nat.filtering is Filtering.ADDRESS_AND_PORT_DEPENDENT for nat in hard)
    assert all(nat.unanswered_lifetime <= nat.lifetime for nat in nats)


def test_the_same_chance_draws_the_same_pair_whatever_is_blocked() -> None:
    open_region = draw_pair(MIX, random.Random("7"))
    restricted = draw_pair(MIX, random.Random("7"), blocked=("stun.l.google.com",))
    assert open_region != restricted
    freed = {name: replace(router, blocked=()) for name, router in restricted.routers.items()}
    assert replace(restricted, routers=freed) == open_region


def test_every_topology_can_be_built(topologies: list[Topology]) -> None:
    """Each router comes after the one in front of it, and no address is given twice."""
    for topology in topologies[:200]:
        seen: list[str] = []
        for name, router in topology.routers.items():
            assert router.behind is None or router.behind in seen
            seen.append(name)
        outer = [router.address for router in topology.routers.values() if router.behind is None]
        servers = [server.address for server in topology.stun_servers]
        assert len({*outer, *servers, topology.server.address}) == len(outer) + len(servers) + 1
