"""UPnP through a gateway double that fails as miniupnpc does: with plain exceptions."""

from __future__ import annotations

import math
import threading

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, Unreachable
from tunnel.network.ports import MappedPort
from tunnel.network.real_port_mapper import TRIES, RealPortMapper


class Gateway:
    """What `miniupnpc.UPnP()` gives; the class attributes set the scene, and all objects share it."""

    found = 1
    outside = "25.0.0.9"
    taken: frozenset[int] = frozenset()
    lanaddr = "192.168.1.7"
    leases = "any"
    """any, permanent (error 725), or invalid (402 for anything but a permanent one)."""
    tells = True
    breaks = False
    mapped: dict[int, tuple[str, int, int]]
    made: list[Gateway]
    discoverdelay = 0

    def __init__(self) -> None:
        self.made.append(self)

    def discover(self) -> int:
        if self.found == 0:
            raise Exception("Success")
        return self.found

    def selectigd(self) -> None:
        pass

    def externalipaddress(self) -> str:
        if self.breaks:
            raise Exception("HTTP error")
        return self.outside

    def addportmapping(
        self, outer: int, protocol: str, host: str, inner: int, label: str, remote: str, lease: int
    ) -> bool:
        assert (protocol, label, remote) == ("UDP", "p2ptunnel-trio", "")
        if outer in self.taken:
            raise Exception("ConflictInMappingEntry")
        if lease and self.leases != "any":
            raise Exception("OnlyPermanentLeasesSupported" if self.leases == "permanent" else "Invalid Args")
        self.mapped[outer] = (host, inner, lease)
        return True

    def getspecificportmapping(self, outer: int, protocol: str) -> tuple[str, int, str, bool, int] | None:
        if outer not in self.mapped or not self.tells:
            return None
        host, inner, lease = self.mapped[outer]
        return host, inner, "p2ptunnel-trio", True, lease

    def deleteportmapping(self, outer: int, protocol: str) -> bool:
        if outer not in self.mapped:
            raise Exception("NoSuchEntryInArray")
        del self.mapped[outer]
        return True


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> type[Gateway]:
    scene = type("Scene", (Gateway,), {"mapped": {}, "made": []})
    monkeypatch.setattr("miniupnpc.UPnP", scene)
    return scene


async def test_a_port_is_mapped_towards_this_machine_and_unmapped(gateway: type[Gateway]) -> None:
    mapper = RealPortMapper()
    assert await mapper.map_port(40000, 7200.0) == MappedPort(Endpoint("25.0.0.9", 40000), 7200.0)
    assert gateway.mapped == {40000: ("192.168.1.7", 40000, 7200)}
    await mapper.unmap_port(40000)
    assert gateway.mapped == {}
    with pytest.raises(Refused, match="NoSuchEntry"):
        await mapper.unmap_port(40000)


async def test_a_taken_port_is_passed_over(gateway: type[Gateway]) -> None:
    gateway.taken = frozenset({40000, 40001})
    assert (await RealPortMapper().map_port(40000, 60)).external == Endpoint("25.0.0.9", 40002)
    gateway.taken = frozenset(range(40000, 40000 + TRIES))
    with pytest.raises(Refused, match="ConflictInMappingEntry"):
        await RealPortMapper().map_port(40000, 60)


async def test_the_port_that_is_wished_for_is_tried_first(gateway: type[Gateway]) -> None:
    """A mapping that is renewed must stay where peers know it."""
    assert (await RealPortMapper().map_port(40000, 60, 50000)).external.port == 50000
    assert gateway.mapped == {50000: ("192.168.1.7", 40000, 60)}


@pytest.mark.parametrize("leases", ["permanent", "invalid"])
async def test_a_gateway_that_knows_only_permanent_mappings_gives_one(gateway: type[Gateway], leases: str) -> None:
    gateway.leases = leases
    gateway.taken = frozenset({40000})
    assert await RealPortMapper().map_port(40000, 60) == MappedPort(Endpoint("25.0.0.9", 40001), math.inf)
    assert gateway.mapped == {40001: ("192.168.1.7", 40000, 0)}


async def test_a_gateway_that_was_found_is_not_searched_for_again(gateway: type[Gateway]) -> None:
    """A search takes a second, and what is to be deleted at the exit has less."""
    mapper = RealPortMapper()
    await mapper.map_port(40000, 60)
    assert await mapper.holds_port(Endpoint("25.0.0.9", 40000), 40000)
    await mapper.unmap_port(40000)
    assert len(gateway.made) == 1
    mapper.forget()
    await mapper.map_port(40000, 60)
    assert len(gateway.made) == 2


async def test_a_gateway_that_fails_is_searched_for_once_more_and_then_unreachable(gateway: type[Gateway]) -> None:
    """It may have started again elsewhere: what was found before leads nowhere."""
    mapper = RealPortMapper()
    await mapper.map_port(40000, 60)
    gateway.breaks = True
    with pytest.raises(Unreachable, match="HTTP error"):
        await mapper.holds_port(Endpoint("25.0.0.9", 40000), 40000)
    assert len(gateway.made) == 2
    gateway.breaks = False
    assert await mapper.holds_port(Endpoint("25.0.0.9", 40000), 40000)
    assert len(gateway.made) == 3


async def test_a_mapping_is_held_while_the_gateway_leads_that_endpoint_here(gateway: type[Gateway]) -> None:
    mapper = RealPortMapper()
    external, _ = await mapper.map_port(40000, 60)
    assert await mapper.holds_port(external, 40000)
    assert not await mapper.holds_port(external, 40001)
    gateway.mapped[40000] = ("192.168.1.8", 40000, 60)
    assert not await mapper.holds_port(external, 40000)
    del gateway.mapped[40000]
    assert not await mapper.holds_port(external, 40000)
    await mapper.map_port(40000, 60)
    gateway.outside = "25.0.0.10"
    assert not await mapper.holds_port(external, 40000)


async def test_a_gateway_that_never_tells_its_mappings_is_not_asked_for_them(gateway: type[Gateway]) -> None:
    """Else each look would find the mapping lost, and announce it anew."""
    gateway.tells = False
    mapper = RealPortMapper()
    external, _ = await mapper.map_port(40000, 60)
    assert await mapper.holds_port(external, 40000)


async def test_a_port_of_another_machine_is_not_taken_from_it(gateway: type[Gateway]) -> None:
    """Gateways without a secure mode would do it."""
    gateway.mapped[40000] = ("192.168.1.8", 40000, 60)
    with pytest.raises(Refused, match=r"192\.168\.1\.8"):
        await RealPortMapper().unmap_port(40000)
    assert 40000 in gateway.mapped


@pytest.mark.parametrize("is_made", [True, False])
async def test_a_lost_answer_is_looked_up_and_no_second_port_is_opened(
    gateway: type[Gateway], monkeypatch: pytest.MonkeyPatch, is_made: bool
) -> None:
    """A busy router maps the port, and its answer comes too late."""

    def fail(self: Gateway, outer: int, _: str, host: str, inner: int, __: str, ___: str, lease: int) -> bool:
        if is_made:
            self.mapped[outer] = (host, inner, lease)
        raise Exception("HTTP error")

    monkeypatch.setattr(gateway, "addportmapping", fail)
    if is_made:
        assert (await RealPortMapper().map_port(40000, 60)).external == Endpoint("25.0.0.9", 40000)
    else:
        with pytest.raises(Refused, match="HTTP error"):
            await RealPortMapper().map_port(40000, 60)
    assert list(gateway.mapped) == [40000] * is_made


@pytest.mark.parametrize("outside", ["", "0", "not an address"])
async def test_a_gateway_without_an_address_refuses(gateway: type[Gateway], outside: str) -> None:
    gateway.outside = outside
    with pytest.raises(Refused, match="no_external_address"):
        await RealPortMapper().map_port(40000, 60)


async def test_no_gateway_is_unreachable(gateway: type[Gateway]) -> None:
    gateway.found = 0
    with pytest.raises(Unreachable, match="no UPnP gateway"):
        await RealPortMapper().map_port(40000, 60)


@pytest.mark.parametrize("stuck_in", ["discover", "externalipaddress", "addportmapping"])
async def test_a_call_that_was_left_leaves_no_mapping_and_its_gateway_is_not_used_again(
    gateway: type[Gateway], monkeypatch: pytest.MonkeyPatch, stuck_in: str
) -> None:
    """The thread goes on alone: it maps nothing any more, or takes back what it maps."""
    go_on, stuck = threading.Event(), threading.Event()
    usual = getattr(gateway, stuck_in)

    def hang(self: Gateway, *arguments: object) -> object:
        if self is self.made[0]:
            stuck.set()
            assert go_on.wait(10)
        return usual(self, *arguments)

    monkeypatch.setattr(gateway, stuck_in, hang)
    mapper = RealPortMapper()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mapper.map_port, 40000, 60)
            await trio.to_thread.run_sync(stuck.wait, 10)
            nursery.cancel_scope.cancel()
        go_on.set()
        assert (await mapper.map_port(50000, 60)).external.port == 50000
    assert list(gateway.mapped) == [50000]
    assert len(gateway.made) == 2


async def test_cancelling_does_not_wait_for_the_thread(gateway: type[Gateway], monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(gateway, "discover", lambda self: release.wait(10))
    with trio.fail_after(5):
        with trio.move_on_after(0.01) as scope:
            await RealPortMapper().map_port(40000, 60)
        assert scope.cancelled_caught
    release.set()
