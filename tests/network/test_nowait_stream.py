"""Sending without a turn of the event loop, from TCP up to a link."""

from __future__ import annotations

import math
import socket

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.network.first_bytes import FirstBytesStream
from tunnel.network.link import BATCH_BYTES, COPIES, QUICK_WRITE, SLOW_WRITE, Link
from tunnel.network.nowait_stream import NowaitStream
from tunnel.network.os.tcp_stream import TcpStream
from tunnel.network.relay_queue import STALLED, QueueBudget
from tunnel.wire.relay_batch import decode_relay_batch, encode_relay_batch
from tunnel.wire.signals import Ping, encode_signal

A = b"A" * 8
MUCH = 8 << 20
"""More bytes than the kernel buffers."""


def tcp_pair() -> tuple[TcpStream, TcpStream]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        first = socket.create_connection(listening.getsockname())
        second, _ = listening.accept()
    return TcpStream(first), TcpStream(second)


async def receive_exactly(stream: trio.abc.Stream, size: int) -> bytes:
    received = b""
    while len(received) < size:
        received += await stream.receive_some()
    return received


async def test_tcp_sends_little_at_once() -> None:
    """No task has to wait for it."""
    near, far = tcp_pair()
    async with near, far:
        assert near.takes_nowait
        assert near.send_nowait(b"record")
        assert await far.receive_some() == b"record"


async def test_what_tcp_does_not_take_at_once_goes_before_what_is_sent_next() -> None:
    """The bytes of a stream keep their order, and none is lost."""
    near, far = tcp_pair()
    first = bytes(range(256)) * (MUCH // 256)
    async with near, far, trio.open_nursery() as nursery:
        assert not near.send_nowait(first)
        assert not near.takes_nowait
        nursery.start_soon(near.send_all, b"last")
        assert await receive_exactly(far, MUCH + 4) == first + b"last"
    assert near.takes_nowait


async def test_a_failure_of_tcp_shows_at_the_next_send() -> None:
    """Whoever passes something on is not the one who ends the connection."""
    near, far = tcp_pair()
    await near.aclose()
    assert not near.send_nowait(b"record")
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"")
    await far.aclose()


async def test_a_wrapper_takes_nothing_at_once_if_its_stream_does_not() -> None:
    """Streams in memory know only `send_all`."""
    stream, other = trio.testing.memory_stream_pair()
    assert not FirstBytesStream(stream, lambda: None).takes_nowait
    await other.aclose()


class PromptChannel:
    """A channel that takes at once while `room` is left, and the rest within `pace` when its `send` is called."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.pace = 0.0
        self.rest: tuple[bytes, ...] = ()
        self.sent: list[bytes] = []

    @property
    def takes_nowait(self) -> bool:
        return not self.rest

    def send_nowait(self, *messages: bytes) -> bool:
        assert self.takes_nowait
        self.room -= len(messages)
        self.rest = messages if self.room < 0 else ()
        self.sent += [] if self.rest else messages
        return not self.rest

    async def send(self, *messages: bytes) -> None:
        await trio.sleep(self.pace)
        self.sent += [*self.rest, *messages]
        self.rest = ()

    async def receive(self) -> bytes:
        raise AssertionError("nobody says anything")


def make_link(room: int) -> tuple[Link, PromptChannel, QueueBudget]:
    channel, budget = PromptChannel(room), QueueBudget(1 << 20)
    return Link(channel, timings=DEFAULT_TIMINGS, relay_queue=1 << 18, budget=budget), channel, budget


async def test_a_link_sends_a_datagram_at_once_if_nothing_is_before_it() -> None:
    """No turn of its writer is needed."""
    link, channel, _ = make_link(room=1)
    assert link.send_relay(A, b"record")
    assert channel.sent == [encode_relay_batch([(A, b"record")])]
    assert link.statistics().relay_sent == 1


async def test_what_is_queued_together_leaves_in_one_message() -> None:
    """Each message costs all on its way."""
    link, channel, _ = make_link(room=1)
    assert link.queue_relay(A, b"one")
    assert link.queue_relay(A, b"two")
    link.flush_relay()
    assert [list(decode_relay_batch(message)) for message in channel.sent] == [[(A, b"one"), (A, b"two")]]


async def test_signals_that_wait_go_before_a_datagram() -> None:
    """A signal is never late for data."""
    link, channel, _ = make_link(room=9)
    link.send_signal(Ping(7))
    link.send_relay(A, b"record")
    assert not channel.sent
    with trio.move_on_after(0.1):
        await link.run_writer()
    assert channel.sent == [encode_signal(Ping(7)), encode_relay_batch([(A, b"record")])]


async def test_what_a_channel_has_not_sent_at_once_is_sent_by_the_writer_in_order() -> None:
    """Until then what comes is queued, where its bound holds."""
    link, channel, budget = make_link(room=0)
    free = budget.free_share
    link.send_relay(A, b"first")
    assert budget.free_share == free - COPIES * len(encode_relay_batch([(A, b"first")])) // 16
    link.send_relay(A, b"second")
    assert link.statistics().relay_bytes_waiting
    with trio.move_on_after(0.1):
        await link.run_writer()
    assert [list(decode_relay_batch(message)) for message in channel.sent] == [[(A, b"first")], [(A, b"second")]]
    assert budget.free_share == free


async def test_what_a_stalled_channel_has_not_sent_ends_its_link_though_signals_wait(
    autojump_clock: MockClock,
) -> None:
    """It counts in what all links together may hold, and goes before the signals."""
    link, channel, budget = make_link(room=0)
    channel.pace = math.inf
    link.send_relay(A, b"first")
    link.send_signal(Ping(7))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def write() -> None:
            with pytest.raises(trio.TooSlowError):
                await link.run_writer()

        await trio.sleep(STALLED + 0.1)
        begun = trio.current_time()
        with budget.writing(1 << 20, trio.CancelScope()):
            pass
    assert trio.current_time() == begun


async def test_a_write_that_was_sent_in_part_does_not_count_as_quick(autojump_clock: MockClock) -> None:
    """The next ones would carry more, and signals wait longer, just where the line is full."""
    channel = PromptChannel(room=0)
    link = Link(channel, timings=DEFAULT_TIMINGS, relay_queue=1 << 18)
    channel.pace = (QUICK_WRITE + SLOW_WRITE) / 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run_writer)
        link.send_relay(A, b"first")
        for _ in range(2):
            assert link.queue_relay(A, bytes(BATCH_BYTES - 100))
        await trio.sleep(channel.pace * 1.5)
        assert len(channel.sent) == 1
        await trio.sleep(channel.pace)
        assert len(channel.sent) == 2
        nursery.cancel_scope.cancel()


async def test_a_link_that_breaks_gives_back_what_its_unsent_write_held() -> None:
    """Else each broken link would leave the others less."""
    link, _, budget = make_link(room=0)
    free = budget.free_share
    link.send_relay(A, b"first")
    assert budget.free_share < free
    with trio.CancelScope() as scope:
        scope.cancel()
        await link.run_writer()
    assert budget.free_share == free


def test_every_layer_below_a_channel_can_send_at_once() -> None:
    """One that could not would silently cost two turns a record."""
    assert issubclass(TcpStream, NowaitStream)
    assert issubclass(FirstBytesStream, NowaitStream)
