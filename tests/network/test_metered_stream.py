"""What a peer sends is passed on a few frames at a time, whatever one read brought: messages to the inbox."""

from __future__ import annotations

from collections import deque
from itertools import chain

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tunnel.network.fair_queueing import LIGHTS_BURST, FairQueue, Share
from tunnel.network.frame_reader import FrameReader, Overlong
from tunnel.network.message_inbox import MessageInbox
from tunnel.network.metered_stream import (
    CONTROLS_BURST,
    CONTROLS_RATE,
    FIRST_RECEIVE_BYTES,
    FRAMES_AT_ONCE,
    MODEST_RECEIVE_BYTES,
    RECEIVE_BYTES,
    MeteredStream,
)

TINY = b"\x82\x80" + bytes(4)
FROM_SERVER = b"\x82\x02hi"
PING = b"\x89\x80" + bytes(4)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


class Script(trio.abc.Stream):
    """A stream whose reads are written down beforehand."""

    def __init__(self, *reads: bytes) -> None:
        self.reads = deque(reads)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.reads.popleft() if self.reads else b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError

    async def aclose(self) -> None:
        raise AssertionError


class Metered:
    """A metered stream over a script, with its inbox."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        queue: FairQueue | None = None,
        *,
        is_client: bool = False,
        is_strict: bool = False,
    ) -> None:
        self.inbox = MessageInbox()
        frames = FrameReader(is_masked=not is_client, max_message=65536, max_first=1000 if is_strict else None)
        share = Share(queue or FairQueue())
        self.stream = MeteredStream(stream, share, frames, self.inbox, is_strict=is_strict, is_client=is_client)

    async def drain(self) -> list[list[bytes]]:
        """Read to the end; the messages, as they came together."""
        pieces: list[list[bytes]] = []

        async def take() -> None:
            while True:
                pieces.append([])
                while (message := self.inbox.take_nowait()) is not None:
                    pieces[-1].append(message)
                await self.inbox.wait_news()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            while await self.stream.receive_some():
                pass
            nursery.cancel_scope.cancel()
        return [piece for piece in pieces if piece]


def frames_of(*reads: bytes) -> Metered:
    metered = Metered(Script(*reads))
    metered.stream.handshake_done()
    return metered


async def pieces_of(stream: MeteredStream) -> list[bytes]:
    pieces = []
    while piece := await stream.receive_some():
        pieces.append(piece)
    return pieces


async def test_a_read_of_thousands_of_tiny_frames_is_handed_on_in_small_pieces(autojump_clock: MockClock) -> None:
    """All 2,700 would be read before anybody else has a turn."""
    pieces = await frames_of(TINY * 2700).drain()
    assert list(chain(*pieces)) == [b""] * 2700
    assert max(map(len, pieces)) == FRAMES_AT_ONCE


async def test_no_more_than_one_read_is_held_until_what_came_is_taken(autojump_clock: MockClock) -> None:
    """Else a receiver that is slow would have it all in memory."""
    script = Script(*[TINY] * 10)
    metered = Metered(script)
    metered.stream.handshake_done()
    with trio.move_on_after(1):
        await metered.stream.receive_some()
    assert len(script.reads) == 8


async def test_a_long_message_comes_out_of_many_reads(autojump_clock: MockClock) -> None:
    head = b"\x82\xfe" + (60_000).to_bytes(2, "big") + bytes(4)
    reads = [head + bytes(16_000), bytes(16_384), bytes(16_384), bytes(11_232) + TINY]
    assert await frames_of(*reads).drain() == [[bytes(60_000), b""]]


async def test_what_is_no_message_is_for_the_library(autojump_clock: MockClock) -> None:
    metered = frames_of(TINY + PING + TINY, PING[:3], PING[3:] + TINY)
    assert await metered.stream.receive_some() == PING
    for _ in range(2):
        assert metered.inbox.take_nowait() == b""
    assert await metered.stream.receive_some() == PING


async def test_pings_are_let_through_as_long_as_they_are_few(autojump_clock: MockClock) -> None:
    """What stands between the two sides, such as a proxy, may send some."""
    stream = frames_of(PING * int(CONTROLS_BURST), *[PING] * 20, PING * int(CONTROLS_BURST)).stream
    for _ in range(int(CONTROLS_BURST) // FRAMES_AT_ONCE + 1):
        await stream.receive_some()
    for _ in range(20):
        await trio.sleep(1.5 / CONTROLS_RATE)
        assert await stream.receive_some() == PING
    with pytest.raises(Overlong, match="more than 10 control frames a second"):
        await pieces_of(stream)


async def test_what_follows_the_answer_of_a_server_is_frames(autojump_clock: MockClock) -> None:
    """A server may send its first message in one packet with its answer, and a hostile one fragments."""
    metered = Metered(Script(SWITCHING[:9], SWITCHING[9:] + FROM_SERVER), is_client=True)
    assert [await metered.stream.receive_some() for _ in range(2)] == [SWITCHING[:9], SWITCHING[9:]]
    with trio.move_on_after(1):
        await metered.stream.receive_some()
    assert metered.inbox.take_nowait() == b"hi"
    with pytest.raises(Overlong, match="fragment"):
        await pieces_of(Metered(Script(SWITCHING + b"\x02\x00"), is_client=True).stream)


async def test_the_body_of_a_refusal_is_passed_on_within_bounds(autojump_clock: MockClock) -> None:
    """An answer such as "100 Continue" with the true one behind it would else open a way round the walk."""
    refusal = b"HTTP/1.1 404 Not Found\r\n\r\n"
    refused = Metered(Script(refusal + b"\x00\x00\x00"), is_client=True).stream
    assert await pieces_of(refused) == [refusal, b"\x00\x00\x00"]
    script = Script(b"HTTP/1.1 100 Continue\r\n\r\n", SWITCHING + b"\x00\x00" * 5000)
    with pytest.raises(Overlong, match="no handshake in them"):
        await pieces_of(Metered(script, is_client=True).stream)


async def test_a_stranger_is_read_in_small_pieces_until_a_second_message_was_received(
    autojump_clock: MockClock,
) -> None:
    """The first one, which says who it is, is received before that is known."""
    asked: list[int | None] = []

    class Asked(Script):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            asked.append(max_bytes)
            return await super().receive_some(max_bytes)

    long = b"\x82\xfe" + (40_000).to_bytes(2) + bytes(4) + bytes(40_000)
    metered = Metered(Asked(TINY, TINY, TINY, long, TINY), is_strict=True)
    metered.stream.handshake_done()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(metered.stream.receive_some)
        for _ in range(5):
            await trio.sleep(1)
            metered.inbox.take_nowait()
            metered.stream.message_done()
    modest = MODEST_RECEIVE_BYTES
    assert asked == [FIRST_RECEIVE_BYTES] * 3 + [modest, RECEIVE_BYTES, modest], (
        "much only after a read that brought much"
    )


class Slow(Script):
    """A stream that takes a second for each write and one writer at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self._writer = trio.Lock()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._writer.acquire_nowait()
        await trio.sleep(1.0)
        self.writes.append(bytes(data))
        self._writer.release()


async def test_a_pong_waits_until_a_message_is_written(autojump_clock: MockClock) -> None:
    """The library answers pings from its reader, which would else write into the middle of a message."""
    slow = Slow()
    stream = Metered(slow).stream
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"message")
        await trio.sleep(0.5)
        nursery.start_soon(stream.send_all, b"pong")
    assert slow.writes == [b"message", b"pong"]


async def test_what_came_for_all_at_one_instant_is_handed_on_in_turn(autojump_clock: MockClock) -> None:
    """They were all light when they began to wait for it: hundreds of reads would be parsed in one round."""
    queue, rounds, handed_on = FairQueue(), 0, list[int]()

    async def read(metered: Metered) -> None:
        async with trio.open_nursery() as reading:
            reading.start_soon(metered.stream.receive_some)
            await metered.inbox.wait_news()
            handed_on.append(rounds)
            reading.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            metered = Metered(Script(TINY * 4), queue)
            metered.stream.handshake_done()
            nursery.start_soon(read, metered)
        while len(handed_on) < 100:
            await trio.lowlevel.checkpoint()
            rounds += 1
    busiest = max(handed_on.count(number) for number in range(rounds))
    assert busiest <= LIGHTS_BURST / 4 + 2


async def test_the_receiver_of_messages_reads_by_itself_and_hands_the_rest_to_the_library(
    autojump_clock: MockClock,
) -> None:
    """A turn of another task for each read would cost as much as the message does."""
    metered = Metered(Script(TINY, PING, TINY))
    metered.stream.handshake_done()
    passed: list[bytes] = []
    messages: list[bytes] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive() -> None:
            while b"" not in passed:
                await metered.stream.read_messages()
                while (message := metered.inbox.take_nowait()) is not None:
                    messages.append(message)

        await trio.testing.wait_all_tasks_blocked()
        while b"" not in passed:
            passed.append(await metered.stream.receive_some())
        metered.inbox.notify()
    assert passed == [PING, b""]
    assert messages == [b"", b""]


async def test_a_failure_found_by_the_receiver_ends_the_task_of_the_library(autojump_clock: MockClock) -> None:
    """It judges why a connection ends, and all others wait for that."""
    metered = Metered(Script(b"\x81\x80" + bytes(4)))
    metered.stream.handshake_done()
    await metered.stream.read_messages()
    with pytest.raises(Overlong):
        await metered.stream.receive_some()


async def test_the_end_that_a_cancelled_receiver_has_read_is_told_to_the_library(autojump_clock: MockClock) -> None:
    """It is read once: each would wait for the other."""
    metered = frames_of()
    metered.inbox.put([b"not taken"])
    with trio.move_on_after(1):
        await metered.stream.read_messages()
    with trio.fail_after(1):
        assert await metered.stream.receive_some() == b""


async def test_a_released_stream_interrupts_the_receiver_and_is_read_by_the_library(
    autojump_clock: MockClock,
) -> None:
    """The closing handshake is the library's, and whoever still waits for a message is told at once."""
    near, far = trio.testing.memory_stream_pair()
    metered = Metered(near)
    metered.stream.handshake_done()
    passed: list[bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(metered.stream.read_messages)

        @nursery.start_soon
        async def be_the_library() -> None:
            passed.append(await metered.stream.receive_some())

        await trio.testing.wait_all_tasks_blocked()
        metered.stream.release()
        await trio.testing.wait_all_tasks_blocked()
        await far.send_all(PING)
    assert passed == [PING]
