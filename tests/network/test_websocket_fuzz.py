"""Whatever strangers send to a server that accepts message channels, it serves the next client.

Broken handshakes, broken frames and random ones; then the stranger hangs up politely, or with a reset.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import RemoteProtocolError
from tunnel.network.os.streams import RealStreams
from tunnel.network.ports import StreamListener
from tunnel.network.websocket import accept_message_channel, open_message_channel
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.memory.streams import MemoryStream
from tunnel.wire.signals import SUBPROTOCOL

EXPECTED = (RemoteProtocolError, trio.BrokenResourceError, trio.EndOfChannel, trio.TooSlowError)
"""All that a hostile peer may cause, and in its own connection only."""
MAX_MESSAGE = 65536

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: server\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: " + SUBPROTOCOL.encode() + b"\r\n\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(
    opcode: int,
    payload: bytes,
    *,
    final: bool = True,
    masked: bool = True,
    reserved: int = 0,
    length: int | None = None,
) -> bytes:
    """A frame as RFC 6455, section 5.2, draws it, or wrong in the way asked for. The mask is all zeros."""
    told = len(payload) if length is None else length
    mask_bit = 0x80 if masked else 0
    head = bytes([final << 7 | reserved << 4 | opcode])
    if told < 126:
        head += bytes([mask_bit | told])
    elif told < 65536:
        head += bytes([mask_bit | 126]) + struct.pack("!H", told)
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", told)
    return head + (bytes(4) if masked else b"") + payload


def _header(name: bytes, value: bytes) -> bytes:
    return HANDSHAKE.replace(b"\r\n\r\n", b"\r\n" + name + b": " + value + b"\r\n\r\n")


CASES: dict[str, bytes] = {
    # No handshake, or a broken one.
    "nothing": b"",
    "one byte": b"G",
    "half a handshake": HANDSHAKE[:60],
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "an SSH banner": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "zeros": bytes(4096),
    "a browser": b"GET / HTTP/1.1\r\nHost: server\r\n\r\n",
    "HTTP 1.0": b"GET / HTTP/1.0\r\n\r\n",
    "HTTP 2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a POST with a body": b"POST / HTTP/1.1\r\nHost: server\r\nContent-Length: 5\r\n\r\nhello",
    "a POST that upgrades": HANDSHAKE.replace(b"GET", b"POST"),
    "a chunked upgrade": _header(b"Transfer-Encoding", b"chunked"),
    "an upgrade with a body": _header(b"Content-Length", b"5") + b"hello",
    "no host": HANDSHAKE.replace(b"Host: server\r\n", b""),
    "two hosts": _header(b"Host", b"other"),
    "no key": HANDSHAKE.replace(b"Sec-WebSocket-Key", b"X-Key"),
    "a short key": HANDSHAKE.replace(b"MDAwMDAwMDAwMDAwMDAwMA==", b"MDAw"),
    "a key that is no base64": HANDSHAKE.replace(b"MDAwMDAwMDAwMDAwMDAwMA==", b"\xff\xfe"),
    "an old version": HANDSHAKE.replace(b"Version: 13", b"Version: 8"),
    "no subprotocol": HANDSHAKE.replace(b"Sec-WebSocket-Protocol: p2ptunnel.v1\r\n", b""),
    "another subprotocol": HANDSHAKE.replace(b"p2ptunnel.v1", b"chat"),
    "a subprotocol that is no text": HANDSHAKE.replace(b"p2ptunnel.v1", b"\xff,,,"),
    "another subprotocol that is no text": _header(b"Sec-WebSocket-Protocol", b"\xff"),
    "a thousand subprotocols": _header(b"Sec-WebSocket-Protocol", b",".join([b"x"] * 1000)),
    "an odd extension": _header(b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits=99"),
    "an extension that is no text": _header(b"Sec-WebSocket-Extensions", b"\xff;\xfe=;;,"),
    "a target that is no text": HANDSHAKE.replace(b"GET / ", b"GET /\xff\xfe "),
    "an endless header": b"GET / HTTP/1.1\r\nHost: server\r\nA: " + b"a" * 100_000,
    "endless headers": b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000,
    "two handshakes": HANDSHAKE + HANDSHAKE,
    # A good handshake and then broken frames.
    "only a handshake": HANDSHAKE,
    "a text message": HANDSHAKE + frame(TEXT, b"hello"),
    "text that is no text": HANDSHAKE + frame(TEXT, b"\xff\xff"),
    "text cut inside a letter": HANDSHAKE + frame(TEXT, b"\xe2", final=False) + frame(0, b"\x82\xac"),
    "an unmasked frame": HANDSHAKE + frame(BINARY, b"hello", masked=False),
    "reserved bits": HANDSHAKE + frame(BINARY, b"hello", reserved=4),
    "all reserved bits": HANDSHAKE + frame(BINARY, b"hello", reserved=7),
    "an unknown opcode": HANDSHAKE + frame(3, b"hello"),
    "an unknown control opcode": HANDSHAKE + frame(15, b""),
    "a continuation of nothing": HANDSHAKE + frame(0, b"hello"),
    "a message inside a message": HANDSHAKE + frame(BINARY, b"a", final=False) + frame(BINARY, b"b"),
    "a fragmented ping": HANDSHAKE + frame(PING, b"hello", final=False),
    "a long ping": HANDSHAKE + frame(PING, bytes(200)),
    "a pong that nobody asked for": HANDSHAKE + frame(PONG, b"x"),
    "many pings": HANDSHAKE + frame(PING, b"x") * 500,
    "a close of one byte": HANDSHAKE + frame(CLOSE, b"x"),
    "a close with code 0": HANDSHAKE + frame(CLOSE, b"\x00\x00"),
    "a close with a reserved code": HANDSHAKE + frame(CLOSE, struct.pack("!H", 1005)),
    "a close that is no text": HANDSHAKE + frame(CLOSE, b"\x03\xe8\xff\xff"),
    "a fragmented close": HANDSHAKE + frame(CLOSE, b"\x03\xe8", final=False),
    "two closes": HANDSHAKE + frame(CLOSE, b"\x03\xe8") * 2,
    "data after the close": HANDSHAKE + frame(CLOSE, b"\x03\xe8") + frame(BINARY, b"x" * 10),
    "a length of 2^63": HANDSHAKE + frame(BINARY, b"x", length=2**63),
    "a length of 2^62": HANDSHAKE + frame(BINARY, bytes(300_000), length=2**62),
    "a length told too long": HANDSHAKE + b"\x82\xfe\x00\x05" + bytes(4) + b"hello",
    "a message that is too long": HANDSHAKE + frame(BINARY, bytes(70_000)),
    "fragments that are too long together": HANDSHAKE + frame(BINARY, bytes(60_000), final=False) * 2,
    "half a frame": HANDSHAKE + frame(BINARY, bytes(1000))[:500],
    "empty fragments without end": HANDSHAKE + frame(BINARY, b"", final=False) + frame(0, b"", final=False) * 30_000,
}


def random_frames(seed: int) -> bytes:
    """A good handshake and then random bytes, half of them under a plausible frame head."""
    chance = random.Random(seed)
    junk = chance.randbytes(chance.randrange(1, 80))
    if chance.random() < 0.5:
        return HANDSHAKE + junk
    head = bytes([chance.choice((0x80, 0x00)) | chance.randrange(16), 0x80 | chance.randrange(128)])
    return HANDSHAKE + frame(BINARY, b"good") + head + junk


class EchoServer:
    """A server as ours are built: one task for each connection, whose errors end there. It notes how each one ended."""

    def __init__(self, listener: StreamListener) -> None:
        self._listener = listener
        self.endings: list[BaseException] = []
        self._ended = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                stream, _ = await self._listener.accept()
                nursery.start_soon(self._serve, stream)

    async def wait_endings(self, count: int) -> None:
        while len(self.endings) < count:
            await self._ended.park()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        try:
            async with accept_message_channel(stream, patience=5, max_message=MAX_MESSAGE) as channel:
                while True:
                    await channel.send(await channel.receive())
        except Exception as error:  # noted, and judged by the test
            self.endings.append(error)
            self._ended.unpark_all()


async def assert_serves(stream: trio.abc.Stream) -> None:
    """A well-behaved client is served."""
    async with open_message_channel(stream, host="server", patience=5, max_message=MAX_MESSAGE) as channel:
        await channel.send(b"still there?")
        assert await channel.receive() == b"still there?"


async def attack_in_memory(datas: list[bytes], hang_up: Callable[[MemoryStream], Awaitable[None]]) -> None:
    """Attack once with each, in virtual time; reading what comes back."""
    async with open_memory_internet(seed=1) as internet, trio.open_nursery() as nursery:
        stranger, host = internet.add_host("stranger", "25.0.0.1"), internet.add_host("server", "25.0.0.2")
        server = EchoServer(await host.open_listener(Endpoint("0.0.0.0", 80)))
        nursery.start_soon(server.run)
        for count, data in enumerate(datas, 1):
            stream = await stranger.open_stream(Endpoint("25.0.0.2", 80))
            with trio.move_on_after(1):
                await send_and_read(stream, data)
            await hang_up(stream)
            with trio.fail_after(60):
                await server.wait_endings(count)
        with trio.fail_after(60):
            await assert_serves(await stranger.open_stream(Endpoint("25.0.0.2", 80)))
        nursery.cancel_scope.cancel()
    assert [ending for ending in server.endings if not isinstance(ending, EXPECTED)] == []


async def send_and_read(stream: trio.abc.Stream, data: bytes) -> None:
    async def read() -> None:
        async for _ in stream:
            pass

    try:
        if data.startswith(HANDSHAKE):  # frames that come before the answer are lost, as RFC 6455 lets them be
            await stream.send_all(HANDSHAKE)
            await stream.receive_some()
            data = data.removeprefix(HANDSHAKE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await stream.send_all(data)
    except* trio.BrokenResourceError:
        pass  # the server had enough


async def close_politely(stream: MemoryStream) -> None:
    await stream.aclose()


async def reset(stream: MemoryStream) -> None:
    stream.reset()


@pytest.mark.parametrize("hang_up", [close_politely, reset])
@pytest.mark.parametrize("data", CASES.values(), ids=CASES.keys())
async def test_a_hostile_connection_ends_alone(
    autojump_clock: MockClock, data: bytes, hang_up: Callable[[MemoryStream], Awaitable[None]]
) -> None:
    await attack_in_memory([data], hang_up)


@pytest.mark.parametrize("seed", range(4))
async def test_random_frames_end_their_own_connection_alone(autojump_clock: MockClock, seed: int) -> None:
    await attack_in_memory([random_frames(1000 * seed + number) for number in range(75)], close_politely)


async def test_a_stranger_who_says_nothing_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        stranger, host = internet.add_host("stranger", "25.0.0.1"), internet.add_host("server", "25.0.0.2")
        server = EchoServer(await host.open_listener(Endpoint("0.0.0.0", 80)))
        nursery.start_soon(server.run)
        for data in (b"", HANDSHAKE[:100]):
            await (await stranger.open_stream(Endpoint("25.0.0.2", 80))).send_all(data)
        begun = trio.current_time()
        await server.wait_endings(2)
        assert trio.current_time() - begun < 6
        assert [type(ending) for ending in server.endings] == [trio.TooSlowError] * 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("first", "again", "words"),
    [
        (frame(BINARY, b"", final=False), frame(0, b"", final=False), "a fragment of a message"),
        (frame(BINARY, b"hello", final=False), frame(0, b"world"), "a fragment of a message"),
        (frame(0, b"hello"), b"", "a fragment of a message"),
        (frame(PING, b"x"), frame(PING, b"x"), "more than 10 control frames a second"),
        (frame(PONG, b""), frame(PONG, b""), "more than 10 control frames a second"),
    ],
)
async def test_frames_that_hold_no_message_end_the_connection(
    autojump_clock: MockClock, first: bytes, again: bytes, words: str
) -> None:
    """The library would parse them for ever: thousands in each read, while everybody else waits."""
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        stranger, host = internet.add_host("stranger", "25.0.0.1"), internet.add_host("server", "25.0.0.2")
        server = EchoServer(await host.open_listener(Endpoint("0.0.0.0", 80)))
        nursery.start_soon(server.run)
        stream = await stranger.open_stream(Endpoint("25.0.0.2", 80))
        with contextlib.suppress(trio.BrokenResourceError):
            await send_and_read(stream, HANDSHAKE + first + again * 1000)
        with trio.fail_after(1):
            await server.wait_endings(1)
        assert words in str(server.endings[0])
        nursery.cancel_scope.cancel()


async def test_real_resets_in_the_middle_of_everything_end_their_own_connection_alone() -> None:
    """The kernel's own resets, which come at any moment."""
    streams = RealStreams()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            listener = await streams.open_listener(Endpoint("127.0.0.1", 0))
            server, local = EchoServer(listener), listener.local
            nursery.start_soon(server.run)
            for data in CASES.values():
                with socket.create_connection(local) as stranger:
                    stranger.setblocking(False)
                    with contextlib.suppress(OSError):  # full, or reset already
                        stranger.send(data)
                    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await assert_serves(await streams.open_stream(local))
            await server.wait_endings(2 * len(CASES))
            nursery.cancel_scope.cancel()
    await listener.aclose()
    assert [ending for ending in server.endings if not isinstance(ending, EXPECTED)] == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/9.9 xyz\r\n\r\n",
        b"\xff" * 5000,
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000,
    ],
)
async def test_a_hostile_server_ends_the_clients_connection_with_an_expected_error(
    autojump_clock: MockClock, answer: bytes
) -> None:
    async with open_memory_internet() as internet:
        client, server = internet.add_host("client", "25.0.0.1"), internet.add_host("server", "25.0.0.2")
        listener = await server.open_listener(Endpoint("0.0.0.0", 80))
        stream = await client.open_stream(Endpoint("25.0.0.2", 80))
        hostile, _ = await listener.accept()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def answer_and_hang_up() -> None:
                await hostile.receive_some()
                await hostile.send_all(answer)
                await hostile.aclose()

            with pytest.raises(EXPECTED):
                async with open_message_channel(stream, host="server", patience=5, max_message=MAX_MESSAGE):
                    pass
