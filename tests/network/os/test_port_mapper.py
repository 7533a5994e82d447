"""UPnP through a miniupnpc double that fails as the true one does, with plain exceptions; and in true processes."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest
import trio
from tests.network.igd_double import IgdDouble, open_igd

from tunnel.model import routes
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, Unreachable
from tunnel.network.os import upnp_client
from tunnel.network.os.port_mapper import RealPortMapper
from tunnel.network.os.upnp_call import MAX_MEMORY, TRIES, IsAbandoned, run_call
from tunnel.network.os.upnp_client import UpnpWorkerClient
from tunnel.network.ports import MappedPort
from tunnel.verify.memory.machine import MemoryInterfaces

ROUTER = routes.Gateway("192.168.1.1", "192.168.1.7")
URL = f"http://{ROUTER.address}:5000/igd.xml"
LOOPBACK = routes.Gateway("127.0.0.1", "127.0.0.1")


def stand_behind(*gateways: routes.Gateway) -> MemoryInterfaces:
    interfaces = MemoryInterfaces()
    interfaces.find_gateways = lambda: gateways
    return interfaces


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
    searched: list[routes.Gateway]

    def __init__(self) -> None:
        self.made.append(self)

    @classmethod
    async def search(cls, gateway: routes.Gateway) -> str:
        cls.searched.append(gateway)
        await trio.lowlevel.checkpoint()
        return URL

    @classmethod
    def mapper(cls) -> RealPortMapper:
        """One whose calls are made in this process."""
        return RealPortMapper(stand_behind(ROUTER), search=cls.search, run=run_call)

    def selectigd(self, url: str) -> str:
        assert url == URL
        if self.found == 0:
            raise Exception("No UPnP device discovered")
        return f"http://{ROUTER.address}:5000/control"

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
    scene = type("Scene", (Gateway,), {"mapped": {}, "made": [], "searched": []})
    monkeypatch.setitem(sys.modules, "miniupnpc", SimpleNamespace(UPnP=scene))
    return scene


async def test_a_port_is_mapped_toward_this_machine_and_unmapped(gateway: type[Gateway]) -> None:
    mapper = gateway.mapper()
    assert await mapper.map_port(40000, 7200.0) == MappedPort(Endpoint("25.0.0.9", 40000), 7200.0)
    assert gateway.mapped == {40000: ("192.168.1.7", 40000, 7200)}
    await mapper.unmap_port(40000)
    assert gateway.mapped == {}
    with pytest.raises(Refused, match="NoSuchEntry"):
        await mapper.unmap_port(40000)


async def test_a_taken_port_is_passed_over(gateway: type[Gateway]) -> None:
    gateway.taken = frozenset({40000, 40001})
    assert (await gateway.mapper().map_port(40000, 60)).external == Endpoint("25.0.0.9", 40002)
    gateway.taken = frozenset(range(40000, 40000 + TRIES))
    with pytest.raises(Refused, match="ConflictInMappingEntry"):
        await gateway.mapper().map_port(40000, 60)


async def test_the_port_that_is_wished_for_is_tried_first(gateway: type[Gateway]) -> None:
    """A mapping that is renewed must stay where peers know it."""
    assert (await gateway.mapper().map_port(40000, 60, 50000)).external.port == 50000
    assert gateway.mapped == {50000: ("192.168.1.7", 40000, 60)}


@pytest.mark.parametrize("leases", ["permanent", "invalid"])
async def test_a_gateway_that_knows_only_permanent_mappings_gives_one(gateway: type[Gateway], leases: str) -> None:
    gateway.leases = leases
    gateway.taken = frozenset({40000})
    assert await gateway.mapper().map_port(40000, 60) == MappedPort(Endpoint("25.0.0.9", 40001), math.inf)
    assert gateway.mapped == {40001: ("192.168.1.7", 40000, 0)}


async def test_a_gateway_that_was_found_is_not_searched_for_again(gateway: type[Gateway]) -> None:
    """A search takes a second, and what is to be deleted at the exit has less."""
    mapper = gateway.mapper()
    await mapper.map_port(40000, 60)
    assert await mapper.holds_port(Endpoint("25.0.0.9", 40000), 40000)
    await mapper.unmap_port(40000)
    assert gateway.searched == [ROUTER]
    mapper.forget()
    await mapper.map_port(40000, 60)
    assert gateway.searched == [ROUTER, ROUTER]


async def test_a_gateway_that_fails_is_searched_for_once_more_and_then_unreachable(gateway: type[Gateway]) -> None:
    """It may have started again elsewhere: what was found before leads nowhere."""
    mapper = gateway.mapper()
    await mapper.map_port(40000, 60)
    gateway.breaks = True
    with pytest.raises(Unreachable, match="HTTP error"):
        await mapper.holds_port(Endpoint("25.0.0.9", 40000), 40000)
    assert len(gateway.searched) == 2
    gateway.breaks = False
    assert await mapper.holds_port(Endpoint("25.0.0.9", 40000), 40000)
    assert len(gateway.searched) == 3


async def test_what_was_found_at_one_gateway_is_not_asked_behind_another(gateway: type[Gateway]) -> None:
    """Before anybody could say `forget`."""
    interfaces = stand_behind(ROUTER)
    mapper = RealPortMapper(interfaces, search=gateway.search, run=run_call)
    await mapper.map_port(40000, 60)
    other = ROUTER._replace(own="192.168.1.8")
    interfaces.find_gateways = lambda: (other,)
    await mapper.map_port(40000, 60)
    assert gateway.searched == [ROUTER, other]


async def test_without_an_ipv4_gateway_nothing_is_searched_for(gateway: type[Gateway]) -> None:
    interfaces = stand_behind(routes.Gateway("fe80::1%2", "2001:db8::2"))
    with pytest.raises(Unreachable, match="no gateway on the default route"):
        await RealPortMapper(interfaces, search=gateway.search, run=run_call).map_port(40000, 60)

    def fail() -> tuple[routes.Gateway, ...]:
        raise OSError("no netlink")

    interfaces.find_gateways = fail
    with pytest.raises(Unreachable, match="no netlink"):
        await RealPortMapper(interfaces, search=gateway.search, run=run_call).map_port(40000, 60)
    assert gateway.searched == []


async def test_a_mapping_is_held_while_the_gateway_leads_that_endpoint_here(gateway: type[Gateway]) -> None:
    mapper = gateway.mapper()
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
    mapper = gateway.mapper()
    external, _ = await mapper.map_port(40000, 60)
    assert await mapper.holds_port(external, 40000)


async def test_a_port_of_another_machine_is_not_taken_from_it(gateway: type[Gateway]) -> None:
    """Gateways without a secure mode would do it."""
    gateway.mapped[40000] = ("192.168.1.8", 40000, 60)
    with pytest.raises(Refused, match=r"192\.168\.1\.8"):
        await gateway.mapper().unmap_port(40000)
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
        assert (await gateway.mapper().map_port(40000, 60)).external == Endpoint("25.0.0.9", 40000)
    else:
        with pytest.raises(Refused, match="HTTP error"):
            await gateway.mapper().map_port(40000, 60)
    assert list(gateway.mapped) == [40000] * is_made


@pytest.mark.parametrize("outside", ["", "0", "not an address"])
async def test_a_gateway_without_an_address_refuses(gateway: type[Gateway], outside: str) -> None:
    gateway.outside = outside
    with pytest.raises(Refused, match="no_external_address"):
        await gateway.mapper().map_port(40000, 60)


async def test_no_gateway_is_unreachable(gateway: type[Gateway]) -> None:
    gateway.found = 0
    with pytest.raises(Unreachable, match="no UPnP gateway"):
        await gateway.mapper().map_port(40000, 60)


@pytest.mark.parametrize("stuck_in", ["selectigd", "externalipaddress", "addportmapping"])
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
    mapper = gateway.mapper()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mapper.map_port, 40000, 60)
            await trio.to_thread.run_sync(stuck.wait, 10)
            nursery.cancel_scope.cancel()
        go_on.set()
        assert (await mapper.map_port(50000, 60)).external.port == 50000
    assert list(gateway.mapped) == [50000]
    assert len(gateway.made) == 2


async def test_a_port_that_was_mapped_in_the_moment_of_leaving_is_taken_back(gateway: type[Gateway]) -> None:
    """The call was not told of it in time, and has answered."""
    go_on, stuck = threading.Event(), threading.Event()

    def run(request: bytes, _: IsAbandoned) -> bytes:
        answer = run_call(request, lambda: False)
        stuck.set()
        assert go_on.wait(10)
        return answer

    mapper = RealPortMapper(stand_behind(ROUTER), search=gateway.search, run=run)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mapper.map_port, 40000, 60)
            await trio.to_thread.run_sync(stuck.wait, 10)
            assert list(gateway.mapped) == [40000]
            nursery.cancel_scope.cancel()
        go_on.set()
        await mapper.map_port(50000, 60)
    assert list(gateway.mapped) == [50000]


async def test_cancelling_does_not_wait_for_the_thread(gateway: type[Gateway], monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(gateway, "selectigd", lambda self, url: release.wait(10))
    with trio.fail_after(5):
        with trio.move_on_after(0.01) as scope:
            await gateway.mapper().map_port(40000, 60)
        assert scope.cancelled_caught
    release.set()


# In a process of its own


def real_mapper(igd: IgdDouble, *paths: str) -> RealPortMapper:
    """Each search finds the next of the paths at this gateway."""
    found = iter(paths)

    async def search(_: routes.Gateway) -> str:
        await trio.lowlevel.checkpoint()
        return igd.url(next(found))

    return RealPortMapper(stand_behind(LOOPBACK), search=search)


@pytest.mark.upnp
async def test_a_process_asks_the_gateway_and_says_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    with open_igd() as igd:
        with pytest.raises(Refused, match="no_external_address"):
            await real_mapper(igd, "/igd.xml").map_port(40000, 60)
        assert igd.posted == ["GetExternalIPAddress"]
    with pytest.raises(Unreachable, match="no UPnP gateway answers"):
        await real_mapper(igd, "/igd.xml").map_port(40000, 60)
    assert capfd.readouterr() == ("", "")


@pytest.mark.upnp
async def test_a_description_without_end_fills_no_memory() -> None:
    """What it sends beyond the limit of the process is never taken."""
    with open_igd() as igd:
        mapper = real_mapper(igd, "/endless", "/igd.xml")
        with pytest.raises(Unreachable):
            await mapper.map_port(40000, 60)
        assert igd.sent < MAX_MEMORY + (32 << 20)
        with pytest.raises(Refused, match="no_external_address"):
            await mapper.map_port(40000, 60)


@pytest.mark.upnp
async def test_a_dripping_description_is_left_when_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next call finds nobody in its way."""
    monkeypatch.setattr(upnp_client, "PATIENCE", 0.5)
    with open_igd() as igd, trio.fail_after(10):
        mapper = real_mapper(igd, "/drip", "/drip")
        for _ in range(2):
            with pytest.raises(Unreachable, match="takes too long"):
                await mapper.map_port(40000, 60)


@pytest.mark.upnp
@pytest.mark.parametrize("is_abandoned", [True, False])
def test_a_call_ends_when_its_patience_does_whoever_waits(monkeypatch: pytest.MonkeyPatch, is_abandoned: bool) -> None:
    monkeypatch.setattr(upnp_client, "PATIENCE", 0.5)
    asked = iter([False])
    with open_igd() as igd:
        request = json.dumps({"word": "unmap", "url": igd.url("/drip"), "arguments": {"external_port": 1}}).encode()
        started = time.monotonic()
        assert UpnpWorkerClient().run(request, partial(next, asked, is_abandoned)) == b"{}"
        assert 0.4 < time.monotonic() - started < 5


@pytest.mark.upnp
async def test_without_a_process_the_gateway_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with open_igd() as igd, pytest.raises(Unreachable, match="no process"):
        await real_mapper(igd, "/igd.xml").map_port(40000, 60)


@pytest.mark.upnp
def test_a_call_that_nobody_waits_for_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.posix_spawn", None)
    assert UpnpWorkerClient().run(b"{}", lambda: True) == b""
