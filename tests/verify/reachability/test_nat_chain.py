from __future__ import annotations

from dataclasses import replace

import pytest

from tunnel.model.nat import Allocation, Filtering, Hairpin, Mapping, NatReport
from tunnel.model.nat import Udp as SeenUdp
from tunnel.verify.reachability.nat_chain import Hop, NatChain, nat_chains, perfect_report, reach_of, side_of
from tunnel.verify.reachability.topology import Gateway, Hairpinning, Host, Lie, Nat, Router, Topology, Udp


def router(nat: Nat | None, gateway: Gateway | None = None) -> Router:
    return Router(address="25.1.1.1", inner="192.168.1.1", nat=nat, gateway=gateway or Gateway())


def hops(*routers: Router, maps_port: bool = False) -> tuple[Hop, ...]:
    nat_chain = NatChain(routers=routers, maps_port=maps_port)
    return side_of(nat_chain.routers, nat_chain)


STRICT = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.RANDOM)


def test_the_chains_of_two_hosts_come_from_the_topology() -> None:
    home, office, provider = router(Nat()), router(STRICT), router(Nat(filtering=Filtering.ENDPOINT_INDEPENDENT))
    topology = Topology(
        hosts={
            "desk": Host(addresses=("192.168.1.2", "2001:db8::2"), behind="home"),
            "work": Host(addresses=("10.0.0.2",), behind="office"),
            "far": Host(addresses=("25.9.9.9",)),
        },
        routers={
            "home": replace(home, behind="provider"),
            "office": replace(office, behind="provider"),
            "provider": provider,
        },
    )
    desk, work = nat_chains(topology, "desk", "work")
    assert [one.nat for one in desk.routers] == [home.nat, provider.nat]
    assert (desk.shared, desk.ipv6, work.ipv6) == (1, True, False)
    assert [one.nat for one in work.own] == [office.nat]
    assert work.common == (provider,)
    assert nat_chains(topology, "far", "desk")[0] == NatChain()


def test_each_router_is_a_hop_the_nearest_first() -> None:
    firewall = replace(router(None), filtering6=Filtering.ADDRESS_DEPENDENT)
    assert hops(router(Nat()), router(STRICT), firewall) == (
        Hop(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, keeps_port=True),
        Hop(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, 64512),
        Hop(Mapping.NONE, Filtering.ADDRESS_DEPENDENT),
    )


def test_a_steady_port_need_not_be_foretold() -> None:
    side = hops(router(Nat(allocation=Allocation.RANDOM)))
    assert side[0].is_steady
    assert reach_of(side) == 1


def test_a_short_lived_mapping_expires_unless_it_gets_its_port_again() -> None:
    short = Nat(lifetime=9.9, allocation=Allocation.RANDOM)
    assert [hop.expires for hop in hops(router(short), router(replace(short, lifetime=10.0)))] == [True, False]
    assert not hops(router(replace(short, allocation=Allocation.PRESERVING)))[0].expires


def test_only_the_nearest_router_is_asked_for_a_port_and_only_an_honest_one_gives_it() -> None:
    open_to_all = Hop(Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT, 64512)
    asked = router(STRICT, Gateway(nat_pmp=True))
    assert hops(asked, asked, maps_port=True)[0] == open_to_all
    assert hops(asked, asked, maps_port=True)[1] == hops(router(STRICT))[0]
    assert hops(asked) == hops(router(STRICT)), "nobody asked"
    assert hops(router(STRICT, Gateway(pcp=True, lie=Lie.SILENT)), maps_port=True) == hops(router(STRICT))
    assert hops(router(STRICT), maps_port=True) == hops(router(STRICT)), "it speaks no such protocol"


def test_a_topology_that_says_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="ports are chosen"):
        hops(router(Nat(allocation=Allocation.UNKNOWN)))
    with pytest.raises(ValueError, match="maps and filters"):
        hops(router(Nat(mapping=Mapping.DEPENDENT)))


def test_a_perfect_survey_sees_the_strictest_of_each_dimension_and_the_outermost_choice_of_ports() -> None:
    cone = Nat(filtering=Filtering.ENDPOINT_INDEPENDENT, hairpinning=Hairpinning.EXTERNAL_SOURCE)
    counting = replace(STRICT, allocation=Allocation.SEQUENTIAL, step=2)
    strict = NatReport(
        mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT,
        filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT,
        allocation=Allocation.SEQUENTIAL,
        hairpin=Hairpin.NO,
        udp=SeenUdp.OPEN,
        step=2,
    )
    assert perfect_report([router(cone), router(counting)]) == strict
    assert perfect_report([router(counting), router(cone)]) == replace(strict, hairpin=Hairpin.YES)
    assert perfect_report([router(STRICT), router(counting)]) == strict


def test_a_perfect_survey_without_a_nat_sees_filters_alone_and_without_udp_nothing() -> None:
    firewall = replace(router(None), filtering6=Filtering.ADDRESS_DEPENDENT)
    without_nat = NatReport(mapping=Mapping.NONE, filtering=Filtering.NONE, udp=SeenUdp.OPEN)
    assert perfect_report([]) == without_nat
    assert perfect_report([firewall]) == replace(without_nat, filtering=Filtering.ADDRESS_DEPENDENT)
    assert perfect_report([router(Nat()), replace(firewall, udp=Udp.WEB_ONLY)]) == NatReport(udp=SeenUdp.BLOCKED)
