"""The double of TCP and UDP in the tunnel behaves as a kernel does, as far as its users can tell."""

from __future__ import annotations

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.verify.memory.devices import MemoryDevices
from tunnel.verify.memory.tunnel_sockets import MAX_WAITING, MemorySockets, MemoryTunnel

DESK, LAPTOP = ("10.86.0.1", "fd00:1::1"), ("10.86.0.2", "fd00:1::2")


def two() -> tuple[MemorySockets, MemorySockets]:
    tunnel = MemoryTunnel()
    return tunnel.sockets(lambda: DESK), tunnel.sockets(lambda: LAPTOP)


@pytest.mark.parametrize(("host", "own"), [("10.86.0.2", "0.0.0.0"), ("fd00:1::2", "::"), ("fd00:1::2", "fd00:1::2")])
async def test_streams_lead_to_whoever_listens(host: str, own: str) -> None:
    desk, laptop = two()
    listener = await laptop.open_listener(Endpoint(own, 8000))
    ours = await desk.open_stream(Endpoint(host, 8000))
    theirs, remote = await listener.accept()
    assert remote.host in DESK
    await ours.send_all(b"hello")
    await ours.send_eof()
    assert [await theirs.receive_some(), await theirs.receive_some()] == [b"hello", b""]
    await theirs.send_all(b"half")
    assert await ours.receive_some() == b"half"
    await listener.aclose()
    with pytest.raises(Unreachable, match="refused"):
        await desk.open_stream(Endpoint(host, 8000))
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_a_taken_port_and_an_address_of_another_are_refused() -> None:
    desk, laptop = two()
    taken = await desk.open_listener(Endpoint("0.0.0.0", 0))
    await laptop.open_listener(Endpoint("0.0.0.0", taken.local.port))
    with pytest.raises(DeviceError, match="has this port"):
        await desk.open_listener(taken.local)
    with pytest.raises(DeviceError, match="none of this node's"):
        await desk.open_datagrams(Endpoint("10.86.0.2", 0))
    with pytest.raises(Unreachable, match="family"):
        await MemoryTunnel().sockets(lambda: ("10.86.0.1",)).open_stream(Endpoint("fd00:1::2", 1))


async def test_datagrams_wait_and_the_oldest_go_first() -> None:
    desk, laptop = two()
    ours = await desk.open_datagrams(Endpoint("0.0.0.0", 0))
    theirs = await laptop.open_datagrams(Endpoint("10.86.0.2", 53))
    await ours.send(b"lost", Endpoint("10.86.0.2", 54))
    for number in range(5):
        await ours.send(bytes([number]) * (MAX_WAITING // 4), theirs.local)
    datagram, remote = await theirs.receive()
    assert (datagram[0], remote) == (1, Endpoint("10.86.0.1", ours.local.port))
    await theirs.send(b"answer", remote)
    assert await ours.receive() == (b"answer", theirs.local)
    await ours.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await ours.send(b"x", theirs.local)


async def test_an_interface_in_memory_has_those_of_its_addresses() -> None:
    device = await MemoryDevices().open_device("p2pt0", 1400, ["10.86.0.1/16"], [])
    with pytest.raises(DeviceError):
        await device.sockets.open_listener(Endpoint("10.86.0.9", 1))
    device.link.readdress(["10.86.0.9/16"], [])
    await (await device.sockets.open_listener(Endpoint("10.86.0.9", 1))).aclose()
