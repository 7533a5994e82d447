"""UPnP as a client: the memory for mappings that would never end."""

from __future__ import annotations

import math

import pytest
import trio
from tests.nat.gateways.conftest import ROUTER
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Refused, Unreachable
from tunnel.model.port_mapping import PortProtocol
from tunnel.nat.gateways.lease import PortLease
from tunnel.nat.gateways.upnp import PERMANENT_FILE, UpnpClient
from tunnel.network.memory_store import MemoryStore
from tunnel.network.ports import MappedPort

HOST = "25.0.0.9"
pytestmark = pytest.mark.usefixtures("autojump_clock")


class Mapper:
    """A port mapper that keeps what it mapped."""

    is_installed = True

    def __init__(self, *, permanent: bool = False) -> None:
        self.permanent = permanent
        self.host = HOST
        self.mapped: dict[int, int] = {}
        self.wishes: list[int] = []
        self.forgot = 0
        self.refuses: Exception | None = None

    async def map_port(self, internal_port: int, lease: float, external_port: int = 0) -> MappedPort:
        await trio.lowlevel.checkpoint()
        self.wishes.append(external_port)
        port = external_port or internal_port
        self.mapped[port] = internal_port
        return MappedPort(Endpoint(self.host, port), math.inf if self.permanent else lease)

    async def unmap_port(self, external_port: int) -> None:
        await trio.lowlevel.checkpoint()
        if self.refuses is not None:
            raise self.refuses
        self.mapped.pop(external_port, None)

    async def holds_port(self, external: Endpoint, internal_port: int) -> bool:
        await trio.lowlevel.checkpoint()
        if self.refuses is not None:
            raise self.refuses
        return self.mapped.get(external.port) == internal_port

    def forget(self) -> None:
        self.forgot += 1


async def test_a_mapping_is_a_lease_and_a_renewal_wishes_for_its_port() -> None:
    mapper = Mapper()
    client = UpnpClient(mapper, MemoryStore())
    lease = await client.map_port(ROUTER, 40000, 7200.0)
    assert lease == PortLease(PortProtocol.UPNP, ROUTER, 40000, Endpoint(HOST, 40000), trio.current_time(), 7200.0)
    assert await client.holds_port(lease)
    await client.map_port(ROUTER, 40000, 7200.0, lease)
    assert mapper.wishes == [0, 40000]
    await client.unmap_port(lease)
    assert mapper.mapped == {}
    assert not await client.holds_port(lease)


async def test_a_permanent_mapping_is_remembered_until_it_is_taken_back() -> None:
    store = MemoryStore()
    client = UpnpClient(Mapper(permanent=True), store)
    lease = await client.map_port(ROUTER, 40000, 7200.0)
    assert lease.is_permanent
    assert store.files[PERMANENT_FILE] == b"40000"
    await client.unmap_port(lease)
    assert store.files[PERMANENT_FILE] == b""


@pytest.mark.parametrize("permanent", [True, False])
async def test_what_a_killed_process_left_open_is_closed_by_the_next_one(permanent: bool) -> None:
    mapper, store = Mapper(permanent=True), MemoryStore()
    await UpnpClient(mapper, store).map_port(ROUTER, 40000, 7200.0)
    mapper.permanent = permanent
    await UpnpClient(mapper, store).map_port(ROUTER, 50000, 7200.0)
    assert mapper.mapped == {50000: 50000}
    assert store.files[PERMANENT_FILE] == (b"50000" if permanent else b"")


async def test_the_same_port_is_not_closed_again() -> None:
    """A fixed UDP port: the next process asks for the very mapping that was left."""
    mapper, store = Mapper(permanent=True), MemoryStore()
    await UpnpClient(mapper, store).map_port(ROUTER, 40000, 7200.0)
    await UpnpClient(mapper, store).map_port(ROUTER, 40000, 7200.0)
    assert mapper.mapped == {40000: 40000}


@pytest.mark.parametrize("refusal", [Refused("not_unmapped"), Unreachable("gone")])
async def test_what_cannot_be_closed_costs_nothing(refusal: Exception) -> None:
    mapper, store = Mapper(), MemoryStore()
    store.files[PERMANENT_FILE] = b"40000"
    mapper.refuses = refusal
    assert (await UpnpClient(mapper, store).map_port(ROUTER, 50000, 7200.0)).external.port == 50000


@pytest.mark.parametrize("kept", [b"", b"x", b"-1", b"999999", b"\xff", "٣".encode()])
async def test_a_damaged_memory_is_none(kept: bytes) -> None:
    mapper, store = Mapper(), MemoryStore()
    store.files[PERMANENT_FILE] = kept
    await UpnpClient(mapper, store).map_port(ROUTER, 50000, 7200.0)
    assert mapper.mapped == {50000: 50000}


async def test_a_full_disk_costs_the_memory_and_nothing_else() -> None:
    class Full(MemoryStore):
        def write(self, name: str, content: bytes) -> None:
            raise DeviceError("no space")

        def read(self, name: str) -> bytes | None:
            raise DeviceError("no disk")

    lease = await UpnpClient(Mapper(permanent=True), Full()).map_port(ROUTER, 40000, 7200.0)
    assert lease.is_permanent


async def test_a_gateway_that_refuses_to_say_does_not_hold_it_and_a_silent_one_may() -> None:
    mapper = Mapper()
    client = UpnpClient(mapper, MemoryStore())
    lease = await client.map_port(ROUTER, 40000, 7200.0)
    mapper.refuses = Refused("no")
    assert not await client.holds_port(lease)
    mapper.refuses = Unreachable("silent")
    with pytest.raises(Unreachable):
        await client.holds_port(lease)


async def test_elsewhere_the_gateway_is_searched_for_again(autojump_clock: MockClock) -> None:
    mapper = Mapper()
    UpnpClient(mapper, MemoryStore()).forget()
    assert mapper.forgot == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "224.0.0.1"])
async def test_a_mapping_that_leads_to_nobody_is_refused_and_taken_back(host: str) -> None:
    mapper, store = Mapper(permanent=True), MemoryStore()
    mapper.host = host
    with pytest.raises(Refused, match="no_external_address"):
        await UpnpClient(mapper, store).map_port(ROUTER, 40000, 7200.0)
    assert mapper.mapped == {}
    assert not store.read(PERMANENT_FILE)
