"""Another VPN in memory: what it wraps, how it is carried, and that a loop does not stop time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.verify.memory.host import MemoryHost
from tunnel.verify.memory.internet import MemoryInternet, open_memory_internet
from tunnel.verify.memory.overlay import PACE, MemoryOverlay
from tunnel.verify.memory.packet import MemoryPacket

ONE, OTHER = "10.99.0.1", "10.99.0.2"
pytestmark = pytest.mark.usefixtures("autojump_clock")


@pytest.fixture
async def internet(autojump_clock: trio.testing.MockClock) -> AsyncIterator[MemoryInternet]:
    async with open_memory_internet() as internet:
        yield internet


@pytest.fixture
def hosts(internet: MemoryInternet) -> tuple[MemoryHost, MemoryHost]:
    return internet.add_host("desk", "25.0.0.1"), internet.add_host("laptop", "25.0.0.2")


async def exchange(one: MemoryHost, other: MemoryHost, payload: bytes) -> tuple[bytes, Endpoint] | None:
    """What arrives at the other's address in the overlay, from where; None: nothing within a second."""
    sender = await one.open_socket(Endpoint("0.0.0.0", 5000))
    receiver = await other.open_socket(Endpoint("0.0.0.0", 5001))
    arrived = None
    sender.send_nowait(payload, Endpoint(OTHER, 5001))
    with trio.move_on_after(1.0):
        [arrived] = await receiver.receive_batch()
    sender.close()
    receiver.close()
    return arrived


async def join_tunnels(one: MemoryHost, other: MemoryHost, packets: list[bytes], nursery: trio.Nursery) -> None:
    """A TUN interface each, and a tunnel between them that notes what it carries."""
    here = await one.devices.open_device("tun", 1280, ["10.86.0.1/16"], [])
    there = await other.devices.open_device("tun", 1280, ["10.86.0.2/16"], [])

    async def carry() -> None:
        while True:
            for packet in await here.read_batch():
                packets.append(packet)
                there.write_nowait(packet)

    nursery.start_soon(carry)


async def test_a_way_of_its_own_has_its_latency_and_its_mtu(hosts: tuple[MemoryHost, MemoryHost]) -> None:
    MemoryOverlay(*hosts, (ONE, OTHER), latency=0.3, mtu=1200)
    assert ONE in hosts[0].interfaces.addresses()
    assert hosts[0].interfaces.is_nested(OTHER)
    assert not hosts[0].interfaces.is_nested("25.0.0.2")
    began = trio.current_time()
    assert await exchange(*hosts, b"hello") == (b"hello", Endpoint(ONE, 5000))
    assert trio.current_time() - began == pytest.approx(0.3)
    assert await exchange(*hosts, bytes(1173)) is None


@pytest.mark.parametrize("encrypted", [False, True])
async def test_one_that_rides_goes_through_the_tunnel_in_pieces_that_fit(
    hosts: tuple[MemoryHost, MemoryHost], encrypted: bool
) -> None:
    packets: list[bytes] = []
    seen: list[str] = []

    def see(host: str, _packet: MemoryPacket, _age: float) -> None:
        seen.append(host)

    MemoryOverlay(*hosts, (ONE, OTHER), encrypted=encrypted, on_encapsulated=see)
    payload = bytes(range(256)) * 5
    assert await exchange(*hosts, payload) is None, "there is no tunnel yet"
    async with trio.open_nursery() as nursery:
        await join_tunnels(*hosts, packets, nursery)
        assert await exchange(*hosts, payload) == (payload, Endpoint(ONE, 5000))
        hosts[0].devices.open["tun"].link.lose("10.86.0.1/16")
        assert await exchange(*hosts, payload) is None, "an interface without an address sends nothing"
        nursery.cancel_scope.cancel()
    assert seen == ["desk"]
    assert len(packets) == 2
    assert all(len(packet) <= 1280 for packet in packets)
    assert packets[-1].endswith(payload[-16:]) is not encrypted
    assert sum(map(len, packets)) > len(payload)


async def test_what_runs_in_circles_is_slowed(hosts: tuple[MemoryHost, MemoryHost]) -> None:
    packets: list[bytes] = []
    MemoryOverlay(*hosts, (ONE, OTHER))
    sender = await hosts[0].open_socket(Endpoint("0.0.0.0", 5000))
    async with trio.open_nursery() as nursery:
        await join_tunnels(*hosts, packets, nursery)
        for _ in range(2 * PACE):
            sender.send_nowait(b"round and round", Endpoint(OTHER, 5001))
            await trio.sleep(0.0001)
        nursery.cancel_scope.cancel()
    assert len(packets) == PACE
