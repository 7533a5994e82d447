"""A link sends signals first, relays fairly, drops what is old, and breaks rather than wait for ever."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from tunnel.model.errors import MalformedFrame
from tunnel.model.settings import ServerSettings
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.network.link import (
    BATCH_BYTES,
    COPIES,
    LEAST_WRITE,
    MAX_WAITING_SIGNALS,
    MOST_WRITE,
    SIGNALS_AT_ONCE,
    SLOW_WRITE,
    Link,
)
from tunnel.network.relay_queue import ENTRY_COST, QUEUING, RESERVE, STALLED, WRITES_SHARE, QueueBudget
from tunnel.wire.relay_batch import ENTRY, decode_relay_batch, encode_relay_batch, is_relay_batch
from tunnel.wire.signals import Ping, Pong, decode_signal, encode_signal

A, B, C = b"A" * 8, b"B" * 8, b"C" * 8
QUEUE = 64 * 1024
RECORD = 61_482
"""Bytes of the longest record."""


class SlowChannel:
    """A channel whose other side takes a message each `pace` seconds; `incoming` is what it says."""

    def __init__(self, pace: float = 0.0) -> None:
        self.pace = pace
        self.sent: list[bytes] = []
        self.writes: list[int] = []
        self.taking: tuple[bytes, ...] = ()
        self.say, self.incoming = trio.open_memory_channel[bytes](math.inf)

    async def send(self, *messages: bytes) -> None:
        self.taking = messages
        await trio.sleep(self.pace)
        self.taking = ()
        self.sent += messages
        self.writes.append(len(messages))

    @property
    def takes_nowait(self) -> bool:
        return False

    def send_nowait(self, *messages: bytes) -> bool:
        raise AssertionError("it takes nothing at once")

    async def receive(self) -> bytes:
        return await self.incoming.receive()


def make_link(channel: SlowChannel, relay_queue: int = QUEUE, max_wait: float = 1000.0) -> Link:
    return Link(channel, timings=replace(DEFAULT_TIMINGS, relay_max_wait=max_wait), relay_queue=relay_queue)


async def write_for(link: Link, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await link.run_writer()


def pairs_of(channel: SlowChannel) -> list[tuple[bytes, bytes]]:
    return [pair for message in channel.sent if is_relay_batch(message) for pair in decode_relay_batch(message)]


async def test_signals_overtake_relay_frames(autojump_clock: MockClock) -> None:
    """A link full of data must still answer a ping and deliver an introduction."""
    channel = SlowChannel(pace=1)
    link = make_link(channel, relay_queue=4 * QUEUE)
    for _ in range(60):
        link.send_relay(A, bytes(1400))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_for, link, 10)
        await trio.sleep(0.5)  # the first batch is under way
        link.send_signal(Ping(1))
        link.send_signal(Ping(2))
    assert [is_relay_batch(message) for message in channel.sent] == [True, False, False, True]
    assert [decode_signal(message) for message in channel.sent[1:3]] == [Ping(1), Ping(2)]


async def test_relay_frames_are_batched_up_to_64_kib(autojump_clock: MockClock) -> None:
    """The cost of a relayed message is per message, so datagrams share one."""
    channel = SlowChannel()
    link = make_link(channel, relay_queue=4 * QUEUE)
    for number in range(80):
        assert link.send_relay(A, bytes([number]) * 1400)
    await write_for(link, 1)
    assert len(channel.sent) == 2
    assert BATCH_BYTES - 1400 - ENTRY.size <= len(channel.sent[0]) <= BATCH_BYTES
    assert pairs_of(channel) == [(A, bytes([number]) * 1400) for number in range(80)]


async def test_a_whole_record_fits_a_message_of_the_server(autojump_clock: MockClock) -> None:
    channel = SlowChannel()
    link = make_link(channel, relay_queue=8 * QUEUE)
    records = [bytes([number]) * RECORD for number in range(3)]
    for record in records:
        assert link.send_relay(A, record)
        assert link.send_relay(B, b"answer")
    await write_for(link, 1)
    assert [datagram for handle, datagram in pairs_of(channel) if handle == A] == records
    assert max(map(len, channel.sent)) <= ServerSettings().max_message


async def test_a_write_carries_several_messages_on_a_fast_line_and_few_bytes_on_a_slow_one(
    autojump_clock: MockClock,
) -> None:
    """Each write takes turns of the event loop; but signals wait until it ends."""
    channel = SlowChannel()
    link = make_link(channel, relay_queue=64 * QUEUE)
    for number in range(64):
        link.send_relay(A, bytes([number]) * RECORD)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run_writer)
        await trio.sleep(1)
        assert max(channel.writes) == MOST_WRITE // RECORD
        channel.pace = 2 * SLOW_WRITE
        channel.sent.clear()
        for number in range(1000):
            link.send_relay(A, number.to_bytes(2, "big") * 700)
        await trio.sleep(10)
        assert len(channel.sent[-1]) <= LEAST_WRITE
        assert len(pairs_of(channel)) == 1000
        nursery.cancel_scope.cancel()


async def test_a_busy_lane_does_not_starve_a_quiet_one(autojump_clock: MockClock) -> None:
    channel = SlowChannel(pace=0.01)
    link = make_link(channel)
    accepted = Counter[bytes]()
    for _ in range(200):
        accepted[A] += link.send_relay(A, bytes(1400))
    for _ in range(3):
        accepted[B] += link.send_relay(B, b"small")
    assert accepted[A] < 200
    assert accepted[B] == 3
    await write_for(link, 10)
    assert [handle for handle, _ in pairs_of(channel)[:6]] == [A, B, A, B, A, B]
    assert Counter(handle for handle, _ in pairs_of(channel)) == accepted
    assert link.statistics().relay_dropped_full == 200 - accepted[A]


async def test_a_lane_holds_no_more_than_its_bytes(autojump_clock: MockClock) -> None:
    link = make_link(SlowChannel(), relay_queue=10_000)
    accepted = sum(link.send_relay(A, bytes(1000)) for _ in range(100))
    assert 8 <= accepted <= 10


async def test_many_lanes_together_hold_a_bounded_amount_and_a_newcomer_finds_room(
    autojump_clock: MockClock,
) -> None:
    """Else a thousand members could fill the memory that a stalled link holds."""
    link = make_link(SlowChannel(), relay_queue=10_000)
    for number in range(1000):
        handle = number.to_bytes(8, "big")
        while link.send_relay(handle, bytes(100)):
            pass
    assert link.statistics().relay_bytes_waiting <= 40_000 + 1001 * RESERVE
    fresh = make_link(SlowChannel(), relay_queue=10_000)
    for handle in (A, B, C):
        while fresh.send_relay(handle, bytes(100)):
            pass
    assert fresh.send_relay(b"newcomer", bytes(100))


async def test_frames_of_a_queue_that_waited_too_long_are_dropped_when_they_come_up(autojump_clock: MockClock) -> None:
    """A relay that delivers late makes the tunnel's own TCP streams worse than one that drops."""
    channel = SlowChannel(pace=0.06)
    link = make_link(channel, relay_queue=2 * QUEUE, max_wait=0.05)
    for number in range(100):
        assert link.send_relay(A, bytes([number]) * 1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_for, link, 1)
        await trio.sleep(0.055)  # the first batch is still under way
        link.send_relay(A, b"new")
    first = (BATCH_BYTES - 1) // (1000 + ENTRY.size)
    kept = [*range(first), *range(99 - QUEUING // (1000 + ENTRY_COST), 100)]
    assert pairs_of(channel) == [*((A, bytes([number]) * 1000) for number in kept), (A, b"new")]
    assert link.statistics().relay_dropped_old == 100 - len(kept)
    assert link.statistics().relay_bytes_waiting == 0


async def test_a_receiver_that_takes_nothing_ends_the_writer(autojump_clock: MockClock) -> None:
    link = make_link(SlowChannel(pace=math.inf))
    link.send_signal(Ping(1))
    begun = trio.current_time()
    with pytest.raises(trio.TooSlowError):
        await link.run_writer()
    assert trio.current_time() - begun == pytest.approx(DEFAULT_TIMINGS.send_patience)
    assert not link.send_relay(A, b"x")


async def test_too_many_waiting_signals_break_the_link_and_never_the_sender(autojump_clock: MockClock) -> None:
    link = make_link(SlowChannel(pace=5))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def write() -> None:
            with pytest.raises(trio.BrokenResourceError, match="256 signals"):
                await link.run_writer()

        for number in range(MAX_WAITING_SIGNALS + 2):
            link.send_signal(Ping(number))
    assert link.statistics().signals_sent <= 1


async def test_a_last_word_can_be_waited_for(autojump_clock: MockClock) -> None:
    channel = SlowChannel(pace=1)
    link = make_link(channel)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run_writer)
        for number in range(SIGNALS_AT_ONCE + 1):
            link.send_signal(Ping(number))
        begun = trio.current_time()
        await link.wait_signals_sent()
        assert trio.current_time() - begun == pytest.approx(2), "a few go by one write, and the last one by another"
        nursery.cancel_scope.cancel()
    assert [decode_signal(message) for message in channel.sent] == [
        Ping(number) for number in range(SIGNALS_AT_ONCE + 1)
    ]


async def test_waiting_for_the_last_word_of_a_broken_link_fails(autojump_clock: MockClock) -> None:
    link = make_link(SlowChannel(pace=math.inf))
    link.send_signal(Ping(1))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def write() -> None:
            with pytest.raises(trio.TooSlowError):
                await link.run_writer()

        with pytest.raises(trio.BrokenResourceError):
            await link.wait_signals_sent()


async def test_both_kinds_of_message_are_received(autojump_clock: MockClock) -> None:
    channel = SlowChannel()
    link = make_link(channel)
    channel.say.send_nowait(encode_signal(Pong(7)))
    channel.say.send_nowait(encode_relay_batch([(A, b"one"), (B, b"two")]))
    assert await link.receive() == Pong(7)
    assert await link.receive() == [(A, b"one"), (B, b"two")]


async def test_unknown_signals_are_skipped_and_damaged_ones_are_errors(autojump_clock: MockClock) -> None:
    channel = SlowChannel()
    link = make_link(channel)
    channel.say.send_nowait(b"\x92\xa6future\x80")
    channel.say.send_nowait(encode_signal(Ping(1)))
    channel.say.send_nowait(b"\xff junk")
    assert await link.receive() == Ping(1)
    assert link.statistics().signals_unknown == 1
    with pytest.raises(MalformedFrame):
        await link.receive()


async def test_a_damaged_batch_yields_what_came_before_the_damage(autojump_clock: MockClock) -> None:
    channel = SlowChannel()
    link = make_link(channel)
    batch = encode_relay_batch([(A, b"one"), (B, b"two")])
    channel.say.send_nowait(batch[:-1])
    channel.say.send_nowait(b"\xc1 nothing good")
    channel.say.send_nowait(batch)
    assert await link.receive() == [(A, b"one")]
    assert await link.receive() == [(A, b"one"), (B, b"two")]
    assert link.statistics().malformed_batches == 2
    assert link.statistics().relay_received == 3


async def test_an_empty_batch_and_an_unknown_signal_decode_to_none_and_are_skipped(autojump_clock: MockClock) -> None:
    """So that whoever receives message by message can charge for them."""
    channel = SlowChannel()
    link = make_link(channel)
    empty, unknown = b"\xc1", b"\x92\xa1x\x80"
    assert link.decode(empty) is None
    assert link.decode(unknown) is None
    for message in (empty, unknown, encode_signal(Ping(1))):
        channel.say.send_nowait(message)
    assert await link.receive() == Ping(1)
    assert link.statistics().signals_unknown == 2


async def test_a_batch_is_counted_when_it_is_decoded_and_not_when_it_is_received(autojump_clock: MockClock) -> None:
    """A batch that its receiver does not admit is dropped as it is."""
    channel = SlowChannel()
    link = make_link(channel)
    batch = encode_relay_batch([(A, b"read")])
    channel.say.send_nowait(batch)
    assert await link.receive_message() == batch
    assert link.statistics().relay_received == 0
    assert link.decode(batch) == [(A, b"read")]
    assert link.statistics().relay_received == 1


async def test_links_that_stall_amid_their_writes_hold_no_more_than_they_may_together(
    autojump_clock: MockClock,
) -> None:
    """Thousands may take much and then nothing, all in one moment; and others still write."""
    budget = QueueBudget(16 << 20)
    channels = [SlowChannel() for _ in range(50)]
    links = [Link(channel, timings=DEFAULT_TIMINGS, relay_queue=1 << 20, budget=budget) for channel in channels]
    async with trio.open_nursery() as nursery:
        for channel, link in zip(channels, links, strict=True):
            nursery.start_soon(link.run_writer)
            for _ in range(5):  # writes grow while they are quick
                for _ in range(40):
                    link.send_relay(A, bytes(14_000))
                await trio.sleep(0.01)
            assert channel.writes
            channel.pace = 5
            for _ in range(40):
                link.send_relay(A, bytes(14_000))
        await trio.sleep(1)
        under_way = COPIES * sum(sum(map(len, channel.taking)) for channel in channels)
        assert under_way <= (16 << 20) / 4 + 50 * COPIES * LEAST_WRITE
        assert all(channel.taking for channel in channels)
        nursery.cancel_scope.cancel()
    assert budget.free_share == (16 << 20) // 4 // WRITES_SHARE


async def test_when_too_much_is_held_the_links_that_stall_end_and_no_others(autojump_clock: MockClock) -> None:
    """Each may hold a whole record beyond the quarter. Whoever opens ever more links makes the server hold no more."""
    budget = QueueBudget(16 << 20)
    quick = SlowChannel(pace=0.5)
    ended, held = [], []

    async def write(link: Link, number: int) -> None:
        with pytest.raises(trio.TooSlowError):
            await link.run_writer()
        ended.append(number)

    async with trio.open_nursery() as nursery:
        link = Link(quick, timings=DEFAULT_TIMINGS, relay_queue=1 << 20, budget=budget)
        nursery.start_soon(link.run_writer)
        channels = [SlowChannel(math.inf) for _ in range(100)]
        for number, channel in enumerate(channels):
            stalled = Link(channel, timings=DEFAULT_TIMINGS, relay_queue=1 << 20, budget=budget)
            nursery.start_soon(write, stalled, number)
            for _ in range(4):
                stalled.send_relay(A, bytes(RECORD))
            link.send_relay(A, bytes(RECORD))
            await trio.sleep(0.09)
            under_way = [channel for other, channel in enumerate(channels) if other not in ended]
            held.append(COPIES * sum(sum(map(len, channel.taking)) for channel in under_way))
        recent = STALLED / 0.09 + 2
        assert max(held) <= (16 << 20) / 4 + recent * COPIES * (RECORD + 100)
        assert ended[:10] == list(range(10))
        assert len(quick.sent) > 15
        nursery.cancel_scope.cancel()


async def test_a_link_that_breaks_gives_its_memory_back(autojump_clock: MockClock) -> None:
    budget = QueueBudget(1 << 20)
    link = Link(SlowChannel(), timings=DEFAULT_TIMINGS, relay_queue=QUEUE, budget=budget)
    link.send_relay(A, bytes(1000))
    assert budget.held >= 1000
    link.send_relay(B, bytes(1000))
    await trio.sleep(2.0)
    link.forget_old_relay()
    assert budget.held == 0
    link.send_relay(A, bytes(1000))
    with trio.CancelScope() as scope:
        scope.cancel()
        await link.run_writer()
    assert budget.held == 0
