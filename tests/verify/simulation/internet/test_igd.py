"""UPnP as a program behind a router meets it: the times and the errors are those of miniupnpc."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import trio
from tests.verify.simulation.lone_router import OUTSIDE, make_router, open_ports, take_ports
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, Unreachable
from tunnel.model.transport import Transport
from tunnel.network.os.upnp_call import TRIES
from tunnel.network.ports import MappedPort
from tunnel.verify.reachability.topology import Gateway, Lie
from tunnel.verify.simulation.internet.gateway import PRIVATE_ADDRESS, WRONG_ADDRESS, GatewayServer
from tunnel.verify.simulation.internet.igd import (
    BLACK_HOLE_SECONDS,
    CALL_SECONDS,
    DISCOVERED_SECONDS,
    KNOWN_SECONDS,
    NOBODY_SECONDS,
    NearestGateway,
    VirtualIgd,
)

DESK, LAPTOP = "192.168.1.7", "192.168.1.8"
PORT, LEASE = 40_000, 600.0

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Street:
    """Two hosts behind one router."""

    def __init__(self, spec: Gateway) -> None:
        self.router = make_router(spec)
        self.gateway = GatewayServer(self.router, chance=random.Random("street"))
        self.desk = VirtualIgd(lambda: NearestGateway(self.gateway, DESK))
        self.laptop = VirtualIgd(lambda: NearestGateway(self.gateway, LAPTOP))

    def open_ports(self) -> dict[int, Endpoint]:
        return open_ports(self.router)


def street(lie: Lie = Lie.NONE, *, max_lease: float = 7200.0) -> Street:
    return Street(Gateway(upnp=True, lie=lie, max_lease=max_lease))


async def test_a_port_is_mapped_toward_the_host_and_unmapped() -> None:
    home = street()
    assert (await home.desk.map_port(PORT, LEASE)).external == Endpoint(OUTSIDE, PORT)
    assert trio.current_time() == pytest.approx(DISCOVERED_SECONDS)
    assert home.open_ports() == {PORT: Endpoint(DESK, PORT)}
    await home.desk.unmap_port(PORT)
    assert trio.current_time() == pytest.approx(DISCOVERED_SECONDS + KNOWN_SECONDS)
    assert home.open_ports() == {}
    await home.desk.unmap_port(PORT)


async def test_a_lease_ends_unless_it_is_renewed(autojump_clock: MockClock) -> None:
    home = street()
    await home.desk.map_port(PORT, LEASE)
    await trio.sleep(LEASE - 10)
    assert (await home.desk.map_port(PORT, LEASE)).external == Endpoint(OUTSIDE, PORT)
    await trio.sleep(LEASE - 1)
    assert list(home.open_ports()) == [PORT]
    await trio.sleep(1)
    assert home.open_ports() == {}


@pytest.mark.parametrize(("asked", "given"), [(7200.0, 100.0), (0.0, 100.0), (60.0, 60.0)])
async def test_a_router_gives_no_longer_lease_than_it_will(asked: float, given: float) -> None:
    """A lease of 0 asks for ever."""
    home = street(max_lease=100.0)
    await home.desk.map_port(PORT, asked)
    await trio.sleep(given - 1)
    assert list(home.open_ports()) == [PORT]
    await trio.sleep(1)
    assert home.open_ports() == {}


async def test_a_second_host_gets_another_port_and_cannot_take_the_first_ones_away() -> None:
    home = street()
    await home.desk.map_port(PORT, LEASE)
    assert (await home.laptop.map_port(PORT, LEASE)).external == Endpoint(OUTSIDE, PORT + 1)
    assert (await home.laptop.map_port(PORT, LEASE)).external == Endpoint(OUTSIDE, PORT + 1)
    with pytest.raises(Refused, match="not_unmapped"):
        await home.laptop.unmap_port(PORT)
    assert list(home.open_ports()) == [PORT, PORT + 1]


async def test_where_four_ports_are_taken_the_conflict_is_the_answer() -> None:
    home = street()
    take_ports(home.router, *range(PORT, PORT + TRIES))
    with pytest.raises(Refused, match="ConflictInMappingEntry"):
        await home.desk.map_port(PORT, LEASE)
    home.router.statics.remove_static(Transport.UDP, PORT + TRIES - 1)
    assert (await home.desk.map_port(PORT, LEASE)).external == Endpoint(OUTSIDE, PORT + TRIES - 1)


async def test_a_port_that_was_asked_for_in_another_protocol_is_renewed() -> None:
    """One inner endpoint has one port outside, however far that is from its own."""
    home = street()
    home.gateway.grant(Transport.UDP, Endpoint(DESK, PORT), LEASE, wanted=7000)
    assert (await home.desk.map_port(PORT, LEASE)).external == Endpoint(OUTSIDE, 7000)
    assert home.open_ports() == {7000: Endpoint(DESK, PORT)}


async def test_the_search_does_not_leave_the_ports_that_there_are() -> None:
    home = street()
    take_ports(home.router, 65535)
    with pytest.raises(Refused, match="ConflictInMappingEntry"):
        await home.desk.map_port(65535, LEASE)


@pytest.mark.parametrize("step", [None, Gateway(), Gateway(nat_pmp=True, pcp=True)])
async def test_without_a_gateway_the_search_ends_after_four_seconds(step: Gateway | None) -> None:
    igd = VirtualIgd(lambda: None) if step is None else Street(step).desk
    with pytest.raises(Unreachable, match="no UPnP gateway"):
        await igd.map_port(PORT, LEASE)
    assert trio.current_time() == pytest.approx(NOBODY_SECONDS)
    with pytest.raises(Unreachable, match="no UPnP gateway"):
        await igd.unmap_port(PORT)


async def test_a_host_that_moved_asks_its_new_router() -> None:
    old, new = street(), street()
    stands_at = [NearestGateway(old.gateway, DESK)]
    igd = VirtualIgd(lambda: stands_at[0])
    await igd.map_port(PORT, LEASE)
    stands_at[0] = NearestGateway(new.gateway, "10.0.0.5")
    await igd.map_port(PORT, LEASE)
    assert old.open_ports() == {PORT: Endpoint(DESK, PORT)}
    assert new.open_ports() == {PORT: Endpoint("10.0.0.5", PORT)}


async def test_a_silent_gateway_is_a_black_hole() -> None:
    home = street(Lie.SILENT)
    with pytest.raises(Unreachable):
        await home.desk.map_port(PORT, LEASE)
    assert trio.current_time() == pytest.approx(DISCOVERED_SECONDS + BLACK_HOLE_SECONDS)
    assert home.open_ports() == {}


@pytest.mark.parametrize(("lie", "code"), [(Lie.GARBAGE, "no_external_address"), (Lie.REFUSED, "not_mapped")])
async def test_a_gateway_that_will_not_map_refuses(lie: Lie, code: str) -> None:
    home = street(lie)
    with pytest.raises(Refused) as refusal:
        await home.desk.map_port(PORT, LEASE)
    assert refusal.value.code == code
    assert home.open_ports() == {}


async def test_a_gateway_that_refuses_takes_nothing_back_either() -> None:
    with pytest.raises(Refused, match="not_unmapped"):
        await street(Lie.REFUSED).desk.unmap_port(PORT)


@pytest.mark.parametrize(
    ("lie", "named", "mapped"),
    [
        (Lie.WRONG_ADDRESS, WRONG_ADDRESS, [PORT]),
        (Lie.PRIVATE_ADDRESS, PRIVATE_ADDRESS, [PORT]),
        (Lie.NOT_MAPPED, OUTSIDE, []),
    ],
)
async def test_a_gateway_may_lie(lie: Lie, named: str, mapped: list[int]) -> None:
    home = street(lie)
    assert (await home.desk.map_port(PORT, LEASE)).external == Endpoint(named, PORT)
    assert list(home.open_ports()) == mapped


async def test_a_mapping_is_held_while_the_router_leads_that_endpoint_to_the_host() -> None:
    home = street()
    external = (await home.desk.map_port(PORT, LEASE)).external
    assert await home.desk.holds_port(external, PORT)
    assert not await home.desk.holds_port(external, PORT + 1)
    assert not await home.laptop.holds_port(external, PORT)
    home.router.reboot()
    assert not await home.desk.holds_port(external, PORT)


async def test_a_gateway_that_was_found_is_found_faster_until_it_is_forgotten() -> None:
    home = street()
    await home.desk.map_port(PORT, LEASE)
    for took in (KNOWN_SECONDS, DISCOVERED_SECONDS):
        began = trio.current_time()
        await home.desk.map_port(PORT, LEASE)
        assert trio.current_time() - began == pytest.approx(took)
        home.desk.forget()


async def test_a_router_without_leases_gives_mappings_without_an_end() -> None:
    home = Street(Gateway(upnp=True, permanent_only=True, max_lease=1e9))
    assert await home.desk.map_port(PORT, LEASE) == MappedPort(Endpoint(OUTSIDE, PORT), math.inf)
    await trio.sleep(2 * LEASE)
    assert home.open_ports() == {PORT: Endpoint(DESK, PORT)}


async def test_the_port_that_is_wished_for_is_tried_first() -> None:
    home = street()
    assert (await home.desk.map_port(PORT, LEASE, 7000)).external.port == 7000


async def test_a_gateway_that_hangs_costs_each_errand_its_patience_one_after_the_other() -> None:
    """A request that no caller waits for any more still lasts: its process is busy until its time is over."""
    home = street(Lie.HANGS)
    with trio.move_on_after(3.0):
        await home.desk.map_port(PORT, LEASE)
    assert trio.current_time() == pytest.approx(3.0)
    with pytest.raises(Unreachable, match="takes too long"):
        await home.desk.map_port(PORT, LEASE)
    assert trio.current_time() == pytest.approx(DISCOVERED_SECONDS + 2 * CALL_SECONDS)
    assert home.open_ports() == {}


async def test_a_gateway_that_was_known_and_hangs_is_searched_for_again() -> None:
    home = street()
    await home.desk.map_port(PORT, LEASE)
    began = trio.current_time()
    home.router.spec = replace(home.router.spec, gateway=replace(home.router.spec.gateway, lie=Lie.HANGS))
    with pytest.raises(Unreachable):
        await home.desk.map_port(PORT, LEASE)
    spent = 2 * CALL_SECONDS + KNOWN_SECONDS + DISCOVERED_SECONDS
    assert trio.current_time() - began == pytest.approx(spent)
