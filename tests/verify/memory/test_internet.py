"""The internet in memory behaves like one, in virtual time."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.network.datagrams import BATCH
from tunnel.verify.memory.internet import HOPS, MemoryInternet, open_memory_internet
from tunnel.verify.memory.packet import Fate, MemoryPacket
from tunnel.verify.memory.resolver import Trouble


@pytest.fixture
async def internet(autojump_clock: MockClock) -> AsyncIterator[MemoryInternet]:
    async with open_memory_internet(seed=1, latency=0.01) as internet:
        yield internet


async def test_a_datagram_arrives_after_the_latency_of_its_way(
    autojump_clock: MockClock, internet: MemoryInternet
) -> None:
    a, b = internet.add_host("a", "25.0.0.1"), internet.add_host("b", "25.0.0.2")
    internet.set_latency("a", "b", 0.075)
    sender = await a.open_socket(Endpoint("0.0.0.0", 1000))
    receiver = await b.open_socket(Endpoint("0.0.0.0", 2000))
    begun = trio.current_time()
    assert sender.send_nowait(b"hello", Endpoint("25.0.0.2", 2000))
    assert await receiver.receive_batch() == [(b"hello", Endpoint("25.0.0.1", 1000))]
    assert trio.current_time() - begun == pytest.approx(0.075)


async def test_datagrams_keep_their_order_and_come_in_batches(
    autojump_clock: MockClock, internet: MemoryInternet
) -> None:
    a, b = internet.add_host("a", "25.0.0.1"), internet.add_host("b", "25.0.0.2")
    sender = await a.open_socket(Endpoint("0.0.0.0", 0))
    receiver = await b.open_socket(Endpoint("25.0.0.2", 2000))
    datagrams = [number.to_bytes(2) for number in range(BATCH + 36)]
    for datagram in datagrams:
        sender.send_nowait(datagram, Endpoint("25.0.0.2", 2000))
    await trio.sleep(1)
    first, second = await receiver.receive_batch(), await receiver.receive_batch()
    assert [datagram for datagram, _ in first] == datagrams[:BATCH]
    assert len(second) == 36


async def test_a_datagram_that_is_too_big_or_of_the_wrong_family_is_not_taken(
    autojump_clock: MockClock, internet: MemoryInternet
) -> None:
    a = internet.add_host("a", "25.0.0.1")
    socket = await a.open_socket(Endpoint("0.0.0.0", 0))
    assert socket.send_nowait(b"x" * 1472, Endpoint("25.0.0.2", 1))
    assert not socket.send_nowait(b"x" * 1473, Endpoint("25.0.0.2", 1))
    a.mtu = 9000
    assert socket.send_nowait(b"x" * 8972, Endpoint("25.0.0.2", 1))
    assert not socket.send_nowait(b"x" * 8973, Endpoint("25.0.0.2", 1))
    assert not socket.send_nowait(b"x", Endpoint("2001:db8::1", 1))


async def test_a_low_ttl_dies_on_the_way(autojump_clock: MockClock, internet: MemoryInternet) -> None:
    a, b = internet.add_host("a", "25.0.0.1"), internet.add_host("b", "25.0.0.2")
    fates: list[tuple[int, Fate]] = []
    internet.watch = lambda packet, fate: fates.append((packet.ttl, fate))
    sender = await a.open_socket(Endpoint("0.0.0.0", 0))
    await b.open_socket(Endpoint("0.0.0.0", 9))
    for ttl in (HOPS, HOPS + 1):
        sender.send_nowait(b"x", Endpoint("25.0.0.2", 9), ttl=ttl)
    await trio.sleep(1)
    assert fates == [(HOPS, Fate.EXPIRED), (1, Fate.DELIVERED)]


async def test_a_closed_socket_wakes_its_reader_and_frees_its_port(
    autojump_clock: MockClock, internet: MemoryInternet
) -> None:
    a = internet.add_host("a", "25.0.0.1")
    socket = await a.open_socket(Endpoint("0.0.0.0", 5))
    with pytest.raises(DeviceError, match="taken"):
        await a.open_socket(Endpoint("25.0.0.1", 5))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await socket.receive_batch()

        await trio.testing.wait_all_tasks_blocked()
        socket.close()
    await a.open_socket(Endpoint("25.0.0.1", 5))


async def test_a_stream_carries_much_both_ways_and_ends(autojump_clock: MockClock, internet: MemoryInternet) -> None:
    """More than the window, so the writer had to wait for the reader."""
    a, b = internet.add_host("a", "25.0.0.1"), internet.add_host("b", "25.0.0.2")
    listener = await b.open_listener(Endpoint("0.0.0.0", 443))
    sent = bytes(range(256)) * 4096

    async def serve() -> None:
        stream, remote = await listener.accept()
        assert remote.host == "25.0.0.1"
        async for chunk in stream:
            await stream.send_all(chunk)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        stream = await a.open_stream(Endpoint("25.0.0.2", 443))

        @nursery.start_soon
        async def send() -> None:
            await stream.send_all(sent)
            await stream.send_eof()

        received = b"".join([bytes(chunk) async for chunk in stream])
    assert received == sent


async def test_a_reader_that_does_not_read_stops_the_writer(
    autojump_clock: MockClock, internet: MemoryInternet
) -> None:
    a, b = internet.add_host("a", "25.0.0.1"), internet.add_host("b", "25.0.0.2")
    await b.open_listener(Endpoint("0.0.0.0", 443))
    stream = await a.open_stream(Endpoint("25.0.0.2", 443))
    with trio.move_on_after(100) as scope:
        await stream.send_all(bytes(1 << 20))
    assert scope.cancelled_caught


async def test_a_stream_survives_loss_and_a_cut(autojump_clock: MockClock, internet: MemoryInternet) -> None:
    """Lost pieces are sent again and put in order; what a cut held back comes when it is lifted."""
    a, b = internet.add_host("a", "25.0.0.1"), internet.add_host("b", "25.0.0.2")
    internet.jitter = 0.02
    internet.drop = lambda packet: internet.chance.random() < 0.3
    listener = await b.open_listener(Endpoint("0.0.0.0", 443))
    stream = await a.open_stream(Endpoint("25.0.0.2", 443))
    served, _ = await listener.accept()
    sent = os.urandom(100_000)
    await stream.send_all(sent)
    received = b""
    while len(received) < len(sent):
        received += await served.receive_some()
    assert received == sent

    internet.drop = lambda packet: True
    begun = trio.current_time()
    await stream.send_all(b"after the cut")
    with trio.move_on_after(20):
        await served.receive_some()
    internet.drop = None
    assert await served.receive_some() == b"after the cut"
    assert 20 <= trio.current_time() - begun < 31


async def test_connecting_to_nobody_is_refused_or_never_answered(
    autojump_clock: MockClock, internet: MemoryInternet
) -> None:
    a = internet.add_host("a", "25.0.0.1")
    internet.add_host("b", "25.0.0.2")
    with pytest.raises(Unreachable, match="refused"):
        await a.open_stream(Endpoint("25.0.0.2", 443))
    with pytest.raises(Unreachable, match="did not answer"):
        await a.open_stream(Endpoint("25.0.0.3", 443))


async def test_a_killed_host_resets_its_streams_and_can_start_again(
    autojump_clock: MockClock, internet: MemoryInternet
) -> None:
    a, b = internet.add_host("a", "25.0.0.1"), internet.add_host("b", "25.0.0.2")
    listener = await b.open_listener(Endpoint("0.0.0.0", 443))
    stream = await a.open_stream(Endpoint("25.0.0.2", 443))
    await listener.accept()
    b.kill()
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()
    await b.open_listener(Endpoint("0.0.0.0", 443))
    await a.open_stream(Endpoint("25.0.0.2", 443))


async def test_a_host_that_changes_its_address_says_so_and_its_streams_hang(
    autojump_clock: MockClock, internet: MemoryInternet
) -> None:
    a, b = internet.add_host("a", "25.0.0.1"), internet.add_host("b", "25.0.0.2")
    listener = await b.open_listener(Endpoint("0.0.0.0", 443))
    socket = await b.open_socket(Endpoint("0.0.0.0", 7))
    stream = await a.open_stream(Endpoint("25.0.0.2", 443))
    served, _ = await listener.accept()
    own = await a.open_socket(Endpoint("0.0.0.0", 8))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.world().interfaces.wait_change)
            await trio.testing.wait_all_tasks_blocked()
            a.change_addresses("25.0.0.9")
    assert a.world().interfaces.addresses() == ("127.0.0.1", "25.0.0.9")
    own.send_nowait(b"from the new one", Endpoint("25.0.0.2", 7))
    assert await socket.receive_batch() == [(b"from the new one", Endpoint("25.0.0.9", 8))]
    await stream.send_all(b"lost")
    with trio.move_on_after(60) as scope:
        await served.receive_some()
    assert scope.cancelled_caught


async def test_two_programs_of_one_host_meet_on_loopback(autojump_clock: MockClock, internet: MemoryInternet) -> None:
    a = internet.add_host("a", "25.0.0.1")
    one, other = await a.open_socket(Endpoint("127.0.0.1", 1)), await a.open_socket(Endpoint("0.0.0.0", 2))
    one.send_nowait(b"x", Endpoint("127.0.0.1", 2))
    assert await other.receive_batch() == [(b"x", Endpoint("127.0.0.1", 1))]


async def test_ipv6_and_ipv4_are_two_worlds(autojump_clock: MockClock, internet: MemoryInternet) -> None:
    a = internet.add_host("a", "25.0.0.1", "2001:db8::1")
    b = internet.add_host("b", "25.0.0.2", "2001:db8::2")
    four, six = await b.open_socket(Endpoint("0.0.0.0", 9)), await b.open_socket(Endpoint("::", 9))
    sender = await a.open_socket(Endpoint("::", 5))
    sender.send_nowait(b"six", Endpoint("2001:db8::2", 9))
    assert await six.receive_batch() == [(b"six", Endpoint("2001:db8::1", 5))]
    with trio.move_on_after(1) as scope:
        await four.receive_batch()
    assert scope.cancelled_caught


async def test_names_resolve_on_every_host(autojump_clock: MockClock, internet: MemoryInternet) -> None:
    a = internet.add_host("a", "25.0.0.1", "2001:db8::1")
    internet.names["stun.example"] = ("25.0.0.7",)
    resolver = a.world().resolver
    assert await resolver.resolve("a", 1) == (Endpoint("25.0.0.1", 1), Endpoint("2001:db8::1", 1))
    assert await resolver.resolve("stun.example", 2) == (Endpoint("25.0.0.7", 2),)
    assert await resolver.resolve("2001:DB8::0:1", 3) == (Endpoint("2001:db8::1", 3),)
    with pytest.raises(Unreachable, match=r"nobody\.example"):
        await resolver.resolve("nobody.example", 1)


async def test_a_resolver_may_have_trouble_with_some_names_or_all(
    autojump_clock: MockClock, internet: MemoryInternet
) -> None:
    a, b = internet.add_host("a", "25.0.0.1"), internet.add_host("b", "25.0.0.2")
    a.resolver.trouble_with["b"] = Trouble.FAILS
    with pytest.raises(Unreachable, match="'b'"):
        await a.world().resolver.resolve("b", 1)
    assert await a.world().resolver.resolve("a", 1) == (Endpoint("25.0.0.1", 1),)
    assert await b.world().resolver.resolve("b", 1) == (Endpoint("25.0.0.2", 1),)
    a.resolver.trouble = Trouble.HANGS
    with trio.move_on_after(3600) as patience:
        await a.world().resolver.resolve("a", 1)
    assert patience.cancelled_caught
    assert await a.world().resolver.resolve("25.0.0.9", 1) == (Endpoint("25.0.0.9", 1),)


async def test_each_start_of_a_process_draws_other_randomness_and_each_run_the_same() -> None:
    host, twin = MemoryInternet(seed=3).add_host("a"), MemoryInternet(seed=3).add_host("a")
    first, second = host.world().entropy, host.world().entropy
    token = first.token(16)
    assert token != second.token(16)
    assert token == twin.world().entropy.token(16)


async def test_a_run_repeats_itself(autojump_clock: MockClock) -> None:
    async def run() -> list[tuple[float, MemoryPacket, Fate]]:
        trace: list[tuple[float, MemoryPacket, Fate]] = []
        async with open_memory_internet(seed=5, jitter=0.05) as internet:
            begun = trio.current_time()
            internet.watch = lambda packet, fate: trace.append((round(trio.current_time() - begun, 9), packet, fate))
            internet.drop = lambda packet: internet.chance.random() < 0.2
            a, b = internet.add_host("a", "25.0.0.1"), internet.add_host("b", "25.0.0.2")
            listener = await b.open_listener(Endpoint("0.0.0.0", 443))
            stream = await a.open_stream(Endpoint("25.0.0.2", 443))
            served, _ = await listener.accept()
            for number in range(20):
                await stream.send_all(bytes([number]) * 1000)
            received = 0
            while received < 20_000:
                received += len(await served.receive_some())
        return trace

    first, second = await run(), await run()
    assert len(first) > 20
    assert first == second
