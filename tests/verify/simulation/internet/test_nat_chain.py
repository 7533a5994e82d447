from __future__ import annotations

from dataclasses import replace

import pytest

from tunnel.model.nat import Allocation, Filtering, Mapping
from tunnel.verify.simulation.internet.nat_chain import Stage, Standing, reach_of, side_of, standings
from tunnel.verify.simulation.internet.topology import Gateway, Host, Lie, Nat, Picture, Router


def router(nat: Nat | None, gateway: Gateway | None = None) -> Router:
    return Router(address="25.1.1.1", inner="192.168.1.1", nat=nat, gateway=gateway or Gateway())


def stages(*routers: Router, maps_port: bool = False) -> tuple[Stage, ...]:
    standing = Standing(routers=routers, maps_port=maps_port)
    return side_of(standing.routers, standing)


STRICT = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.RANDOM)


def test_standings_come_from_the_picture() -> None:
    home, office, provider = router(Nat()), router(STRICT), router(Nat(filtering=Filtering.ENDPOINT_INDEPENDENT))
    picture = Picture(
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
    desk, work = standings(picture, "desk", "work")
    assert [one.nat for one in desk.routers] == [home.nat, provider.nat]
    assert (desk.shared, desk.ipv6, work.ipv6) == (1, True, False)
    assert [one.nat for one in work.own] == [office.nat]
    assert work.common == (provider,)
    assert standings(picture, "far", "desk")[0] == Standing()


def test_each_router_is_a_stage_the_nearest_first() -> None:
    firewall = replace(router(None), filtering6=Filtering.ADDRESS_DEPENDENT)
    assert stages(router(Nat()), router(STRICT), firewall) == (
        Stage(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, keeps_port=True),
        Stage(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, 64512),
        Stage(Mapping.NONE, Filtering.ADDRESS_DEPENDENT),
    )


def test_a_steady_port_need_not_be_foretold() -> None:
    side = stages(router(Nat(allocation=Allocation.RANDOM)))
    assert side[0].is_steady
    assert reach_of(side) == 1


def test_a_short_lived_mapping_expires_unless_it_gets_its_port_again() -> None:
    short = Nat(lifetime=9.9, allocation=Allocation.RANDOM)
    assert [stage.expires for stage in stages(router(short), router(replace(short, lifetime=10.0)))] == [True, False]
    assert not stages(router(replace(short, allocation=Allocation.PRESERVING)))[0].expires


def test_only_the_nearest_router_is_asked_for_a_port_and_only_an_honest_one_gives_it() -> None:
    open_to_all = Stage(Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT, 64512)
    asked = router(STRICT, Gateway(nat_pmp=True))
    assert stages(asked, asked, maps_port=True)[0] == open_to_all
    assert stages(asked, asked, maps_port=True)[1] == stages(router(STRICT))[0]
    assert stages(asked) == stages(router(STRICT)), "nobody asked"
    assert stages(router(STRICT, Gateway(pcp=True, lie=Lie.SILENT)), maps_port=True) == stages(router(STRICT))
    assert stages(router(STRICT), maps_port=True) == stages(router(STRICT)), "it speaks no such protocol"


def test_a_picture_that_says_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="ports are chosen"):
        stages(router(Nat(allocation=Allocation.UNKNOWN)))
    with pytest.raises(ValueError, match="maps and filters"):
        stages(router(Nat(mapping=Mapping.DEPENDENT)))
