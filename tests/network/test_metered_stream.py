"""What a peer sends reaches the library a few frames at a time, whatever one read brought."""

from __future__ import annotations

from collections import deque

import pytest
import trio
from trio.testing import MockClock

from tunnel.network.fair_queueing import LIGHTS_BURST, FairQueue, Share
from tunnel.network.frame_headers import Overlong
from tunnel.network.metered_stream import CONTROLS_BURST, CONTROLS_RATE, FRAMES_AT_ONCE, MeteredStream

TINY = b"\x82\x80" + bytes(4)
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


def metered(*reads: bytes, is_client: bool = False) -> MeteredStream:
    return MeteredStream(Script(*reads), Share(FairQueue()), max_first=None, is_client=is_client)


def frames_of(*reads: bytes) -> MeteredStream:
    stream = metered(*reads)
    stream.handshake_done()
    return stream


async def pieces_of(stream: MeteredStream) -> list[bytes]:
    pieces = []
    while piece := await stream.receive_some():
        pieces.append(bytes(piece))
    return pieces


async def test_a_read_of_thousands_of_tiny_frames_is_handed_on_in_small_pieces(autojump_clock: MockClock) -> None:
    """The library would parse all 2,700 of a read before anybody else has his turn: 75 ms."""
    pieces = await pieces_of(frames_of(TINY * 2700))
    assert b"".join(pieces) == TINY * 2700
    assert max(map(len, pieces)) == FRAMES_AT_ONCE * len(TINY)


async def test_a_large_frame_is_not_cut_smaller_than_it_came(autojump_clock: MockClock) -> None:
    head = b"\x82\xff" + (60_000).to_bytes(8, "big") + bytes(4)
    reads = [head + bytes(16_000), bytes(16_384), bytes(16_384), bytes(11_232) + TINY]
    assert await pieces_of(frames_of(*reads)) == reads


async def test_pings_are_let_through_as_long_as_they_are_few(autojump_clock: MockClock) -> None:
    """What stands between the two sides, such as a proxy, may send some."""
    stream = frames_of(PING * int(CONTROLS_BURST), *[PING] * 20, PING * int(CONTROLS_BURST))
    for _ in range(int(CONTROLS_BURST) // FRAMES_AT_ONCE + 1):
        await stream.receive_some()
    for _ in range(20):
        await trio.sleep(1.5 / CONTROLS_RATE)
        assert await stream.receive_some() == PING
    with pytest.raises(Overlong, match="more than 10 control frames a second"):
        await pieces_of(stream)


async def test_what_follows_the_answer_of_a_server_is_frames(autojump_clock: MockClock) -> None:
    """A server may send its first message in one packet with its answer, and a hostile one fragments."""
    assert await pieces_of(metered(SWITCHING[:9], SWITCHING[9:] + TINY, is_client=True)) == [
        SWITCHING[:9],
        SWITCHING[9:],
        TINY,
    ]
    with pytest.raises(Overlong, match="fragment"):
        await pieces_of(metered(SWITCHING + b"\x02\x00", is_client=True))


async def test_the_body_of_a_refusal_is_passed_on_within_bounds(autojump_clock: MockClock) -> None:
    """An answer such as "100 Continue" with the true one behind it would else open a way round the walk."""
    refusal = b"HTTP/1.1 404 Not Found\r\n\r\n"
    assert await pieces_of(metered(refusal + b"\x00\x00\x00", is_client=True)) == [refusal, b"\x00\x00\x00"]
    with pytest.raises(Overlong, match="no handshake in them"):
        await pieces_of(metered(b"HTTP/1.1 100 Continue\r\n\r\n", SWITCHING + b"\x00\x00" * 5000, is_client=True))


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


async def test_gathered_writes_are_one_write(autojump_clock: MockClock) -> None:
    """A write of TLS and of the kernel costs more than the frame in it."""
    slow = Slow()
    stream = MeteredStream(slow, Share(FairQueue()), max_first=None, is_client=False)
    with stream.gathering():
        for piece in (b"a", b"b", b"c"):
            await stream.send_all(piece)
    assert slow.writes == []
    await stream.flush()
    assert slow.writes == [b"abc"]


async def test_a_pong_waits_until_a_message_is_written(autojump_clock: MockClock) -> None:
    """The library answers pings from its reader, which would else write into the middle of a message."""
    slow = Slow()
    stream = MeteredStream(slow, Share(FairQueue()), max_first=None, is_client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"message")
        await trio.sleep(0.5)
        nursery.start_soon(stream.send_all, b"pong")
    assert slow.writes == [b"message", b"pong"]


async def test_what_came_for_all_at_one_instant_is_handed_on_in_turn(autojump_clock: MockClock) -> None:
    """They were all light when they began to wait for it: hundreds of reads would be parsed in one round."""
    queue, rounds, handed_on = FairQueue(), 0, list[int]()

    async def read(stream: MeteredStream) -> None:
        assert await stream.receive_some()
        handed_on.append(rounds)

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            stream = MeteredStream(Script(TINY * 4), Share(queue), max_first=None, is_client=False)
            stream.handshake_done()
            nursery.start_soon(read, stream)
        while len(handed_on) < 100:
            await trio.lowlevel.checkpoint()
            rounds += 1
    busiest = max(handed_on.count(number) for number in range(rounds))
    assert busiest <= LIGHTS_BURST / 4 + 2
