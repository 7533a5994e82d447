"""A host in memory offers every port, keeps what a machine keeps, and opens no real file descriptor."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.network.link import Link
from tunnel.network.websocket import accept_message_channel, open_message_channel
from tunnel.verify.memory.host import MemoryHost
from tunnel.verify.memory.internet import MemoryInternet, open_memory_internet
from tunnel.verify.memory.machine import WALL_AT_ZERO
from tunnel.verify.memory.packet import Fate
from tunnel.wire.signals import Ping, Pong

CONTROL = Path("/run/tunnel/control")


@pytest.fixture
async def internet(autojump_clock: MockClock) -> AsyncIterator[MemoryInternet]:
    async with open_memory_internet(seed=1) as internet:
        yield internet


@pytest.fixture
def host(internet: MemoryInternet) -> MemoryHost:
    return internet.add_host("host", "25.0.0.1")


def open_descriptors() -> set[str]:
    """What /proc says that this process has open: number and target."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except FileNotFoundError:
            continue  # the descriptor of this very listing
    return found


async def test_two_programs_talk_in_every_way_without_a_real_file_descriptor(internet: MemoryInternet) -> None:
    """Links over WebSockets, datagrams, names, control sockets, devices and files: all in memory."""
    before = open_descriptors()
    seen: list[set[str]] = []
    server, node = internet.add_host("server", "25.0.0.1"), internet.add_host("node", "25.0.0.2")

    async def serve(*, task_status: trio.TaskStatus[Endpoint]) -> None:
        world = server.world()
        listener = await world.streams.open_listener(Endpoint("0.0.0.0", 80))
        task_status.started(listener.local)
        stream, _ = await listener.accept()
        async with accept_message_channel(stream, patience=5, max_message=65536) as channel:
            link = Link(channel, timings=DEFAULT_TIMINGS, relay_queue=65536)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.run_writer)
                assert await link.receive() == Ping(1)
                link.send_signal(Pong(1))
                assert await link.receive() == [(b"12345678", b"datagram")]
                seen.append(open_descriptors())
                await link.wait_signals_sent()
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        local: Endpoint = await nursery.start(serve)
        world = node.world()
        device = await world.devices.open_device("tun0", 1280, ["10.86.0.1/16"], [])
        control = await world.controls.open_listener(CONTROL)
        socket = await world.datagrams.open_socket(Endpoint("0.0.0.0", 0))
        world.store.write("key", world.entropy.token(32))
        [remote] = await world.resolver.resolve("server", local.port)
        stream = await world.streams.open_stream(remote)
        async with open_message_channel(stream, host="server", patience=5, max_message=65536) as channel:
            link = Link(channel, timings=DEFAULT_TIMINGS, relay_queue=65536)
            async with trio.open_nursery() as writing:
                writing.start_soon(link.run_writer)
                link.send_signal(Ping(1))
                assert await link.receive() == Pong(1)
                link.send_relay(b"12345678", b"datagram")
                with pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
                    await link.receive()
                writing.cancel_scope.cancel()
        device.close()
        await control.aclose()
        socket.close()
    assert seen == [before]
    assert open_descriptors() == before


async def test_the_same_seed_gives_the_same_times_and_lengths(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Trio's scheduler seeded too. The bytes differ: a WebSocket's key and masks are the library's own chance."""
    monkeypatch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)

    async def run() -> list[tuple[float, int]]:
        trio._core._run._r.seed(7)
        trace: list[tuple[float, int]] = []
        async with open_memory_internet(seed=2, jitter=0.01) as internet:
            begun = trio.current_time()
            internet.watch = lambda packet, fate: trace.append(
                (round(trio.current_time() - begun, 9), len(packet.payload))
            )
            server, node = internet.add_host("server", "25.0.0.1"), internet.add_host("node", "25.0.0.2")
            listener = await server.open_listener(Endpoint("0.0.0.0", 80))

            async def serve() -> None:
                stream, _ = await listener.accept()
                async with accept_message_channel(stream, patience=5, max_message=65536) as channel:
                    for _ in range(10):
                        await channel.send(await channel.receive())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                stream = await node.open_stream(Endpoint("25.0.0.1", 80))
                async with open_message_channel(stream, host="server", patience=5, max_message=65536) as channel:
                    for size in range(0, 20_000, 2_000):
                        await channel.send(bytes(size))
                        assert len(await channel.receive()) == size
        return trace

    assert await run() == await run()


async def test_a_control_socket_is_reached_by_its_path(internet: MemoryInternet, host: MemoryHost) -> None:
    controls = host.world().controls
    with pytest.raises(Unreachable, match="nobody listens"):
        await controls.open_stream(CONTROL)
    listener = await controls.open_listener(CONTROL)
    with pytest.raises(DeviceError, match="somebody listens"):
        await controls.open_listener(CONTROL)
    stream = await controls.open_stream(CONTROL)
    served, _ = await listener.accept()
    await stream.send_all(b"status\n")
    assert await served.receive_some() == b"status\n"
    host.kill()
    with pytest.raises(Unreachable, match="nobody listens"):
        await controls.open_stream(CONTROL)
    await controls.open_listener(CONTROL)


async def test_a_device_carries_packets_both_ways(internet: MemoryInternet, host: MemoryHost) -> None:
    devices = host.world().devices
    device = await devices.open_device("tun0", 1280, ["10.86.0.1/16"], ["10.86.0.0/16"])
    with pytest.raises(DeviceError, match="exists already"):
        await devices.open_device("tun0", 1280, [], [])
    behind = host.devices.open["tun0"]
    assert (behind.addresses, behind.routes) == (("10.86.0.1/16",), ("10.86.0.0/16",))
    assert behind.inject(b"out")
    assert not behind.inject(bytes(1281))
    assert await device.read_batch() == [b"out"]
    assert device.write_nowait(b"in")
    assert await behind.wait_written() == b"in"
    device.close()
    with pytest.raises(trio.ClosedResourceError):
        await device.read_batch()
    await devices.open_device("tun0", 1280, [], [])


async def test_a_device_nobody_reads_takes_a_bounded_number_of_packets(
    internet: MemoryInternet, host: MemoryHost
) -> None:
    device = await host.world().devices.open_device("tun0", 1280, [], [])
    assert sum(device.write_nowait(b"x") for _ in range(10_000)) < 1000
    assert sum(host.devices.open["tun0"].inject(b"x") for _ in range(10_000)) < 1000


async def test_what_a_machine_keeps_outlives_a_kill(internet: MemoryInternet, host: MemoryHost) -> None:
    world = host.world()
    world.store.write("key", b"kept")
    await world.devices.open_device("tun0", 1280, [], [])
    host.kill()
    assert host.world().store.read("key") == b"kept"
    assert host.devices.open == {}


async def test_the_clocks_go_with_trios(internet: MemoryInternet, host: MemoryHost) -> None:
    clock = host.world().clock
    wall = clock.wall()
    await trio.sleep(100)
    assert clock.wall() - wall == pytest.approx(100)
    assert wall >= WALL_AT_ZERO
    host.clock.wall_offset = -3600.0
    assert clock.wall() < wall


async def test_there_is_no_gateway_unless_a_test_puts_one_there(internet: MemoryInternet, host: MemoryHost) -> None:
    world = host.world()
    assert world.interfaces.gateways() == ()
    world.port_mapper.forget()
    with pytest.raises(Unreachable):
        await world.port_mapper.map_port(1, 1)
    with pytest.raises(Unreachable):
        await world.port_mapper.unmap_port(1)
    with pytest.raises(Unreachable):
        await world.port_mapper.holds_port(Endpoint("25.0.0.9", 1), 1)


async def test_an_unplugged_host_reaches_nobody_and_comes_back(internet: MemoryInternet, host: MemoryHost) -> None:
    other = internet.add_host("other", "25.0.0.2")
    listener = await other.open_listener(Endpoint("0.0.0.0", 80))
    socket = await host.open_socket(Endpoint("0.0.0.0", 0))
    host.change_addresses()
    assert not socket.send_nowait(b"x", Endpoint("25.0.0.2", 80))
    with pytest.raises(Unreachable, match="no address here"):
        await host.open_stream(Endpoint("25.0.0.2", 80))
    host.change_addresses("25.0.0.1")
    await host.open_stream(Endpoint("25.0.0.2", 80))
    await listener.accept()


async def test_an_address_belongs_to_one_host(internet: MemoryInternet, host: MemoryHost) -> None:
    with pytest.raises(ValueError, match="belongs to host"):
        internet.add_host("thief", "25.0.0.1")


async def test_a_host_tells_what_it_sends_and_what_arrived(internet: MemoryInternet, host: MemoryHost) -> None:
    """What goes to the host itself never leaves it."""
    other = internet.add_host("other", "25.0.0.2")
    socket = await host.open_socket(Endpoint("0.0.0.0", 5))
    await other.open_socket(Endpoint("0.0.0.0", 7))
    sent: list[bytes] = []
    arrived: list[tuple[bytes, Fate]] = []
    host.on_sent = lambda packet: sent.append(packet.payload)
    other.on_arrival = lambda packet, fate: arrived.append((packet.payload, fate))
    socket.send_nowait(b"kept", Endpoint("127.0.0.1", 5))
    socket.send_nowait(b"heard", Endpoint("25.0.0.2", 7))
    socket.send_nowait(b"unheard", Endpoint("25.0.0.2", 8))
    await trio.sleep(1)
    assert sent == [b"heard", b"unheard"]
    assert arrived == [(b"heard", Fate.DELIVERED), (b"unheard", Fate.UNWANTED)]


async def test_a_host_that_moves_hears_of_it_even_where_its_address_stays_the_same(
    internet: MemoryInternet, host: MemoryHost
) -> None:
    elsewhere = MemoryInternet(seed=2)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.interfaces.wait_change)
            await trio.testing.wait_all_tasks_blocked()
            host.move(elsewhere, "25.0.0.1")
    internet.add_host("heir", "25.0.0.1")
    with pytest.raises(ValueError, match="belongs to host"):
        elsewhere.add_host("late", "25.0.0.1")
