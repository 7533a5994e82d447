"""A read brings all records that came, and every end of a connection is told as trio.SSLStream would."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from tests.network.stream_pair import open_streams
from trio.testing import MockClock

from tunnel.network.nowait_stream import NowaitStream
from tunnel.network.tls import client_tls, fingerprint_of, make_certificate, server_tls
from tunnel.network.tls_stream import MAX_RECEIVE, MAX_RECORDS, TlsStream

CERTIFICATE, KEY = make_certificate(os.urandom)


class Tap(trio.abc.Stream):
    """Counts what the stream under it is asked, and may change what it receives."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.reads = 0
        self.writes = 0
        self.damage = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.reads += 1
        received = await self.stream.receive_some(max_bytes)
        return bytes(received[:-1]) + bytes([received[-1] ^ 1]) if self.damage and received else received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.writes += 1
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()


class PromptTap(Tap, NowaitStream):
    """The same for a stream that takes something at once while `takes` is true."""

    takes = True

    @property
    def takes_nowait(self) -> bool:
        return self.takes

    def send_nowait(self, data: bytes | bytearray | memoryview) -> bool:
        raise AssertionError("this test sends nothing at once")


@asynccontextmanager
async def secured_pair() -> AsyncIterator[tuple[trio.abc.Stream, Tap, trio.abc.Stream, Tap]]:
    """The client's TLS and what is under it, and the server's."""
    async with open_streams() as (stream, served, _), trio.open_nursery() as nursery:
        under, below = Tap(stream), Tap(served)
        secured, is_secured = list[trio.abc.Stream](), trio.Event()

        @nursery.start_soon
        async def serve() -> None:
            secured.append(await server_tls(below, CERTIFICATE, KEY))
            is_secured.set()

        client = await client_tls(under, "server", fingerprint_of(CERTIFICATE))
        await is_secured.wait()
        yield client, under, secured[0], below


async def receive_exactly(stream: trio.abc.Stream, size: int, max_bytes: int | None = None) -> bytes:
    received = bytearray()
    while len(received) < size:
        received += await stream.receive_some(max_bytes)
    return bytes(received)


async def test_one_read_brings_all_records_that_came_and_one_write_sends_them(autojump_clock: MockClock) -> None:
    message = os.urandom(MAX_RECEIVE - 1000)
    async with secured_pair() as (client, under, server, _):
        writes = under.writes
        await client.send_all(message)
        assert under.writes == writes + 1
        await trio.sleep(1)
        assert await server.receive_some() == message


async def test_a_flood_of_tiny_records_leaves_others_their_turn(autojump_clock: MockClock) -> None:
    """Together they are one read of the stream; without a bound nobody else ran until all were opened."""
    async with secured_pair() as (client, under, server, below):
        sent, whole = under.stream, bytearray()

        class Keeping(Tap):
            async def send_all(self, data: bytes | bytearray | memoryview) -> None:
                whole.extend(data)

        under.stream = Keeping(sent)
        for number in range(1000):
            await client.send_all(bytes([number % 251]))
        await sent.send_all(whole)
        received = [await server.receive_some(256 * 1024) for _ in range(-(-1000 // MAX_RECORDS))]
        assert b"".join(received) == bytes(number % 251 for number in range(1000))
        assert below.reads <= 4
        under.stream = sent


@pytest.mark.parametrize("max_bytes", [1, 100, 20_000, 1 << 20])
async def test_a_read_returns_no_more_than_it_was_asked_for(autojump_clock: MockClock, max_bytes: int) -> None:
    message = os.urandom(max_bytes + 3000)
    async with secured_pair() as (client, _, server, _), trio.open_nursery() as nursery:
        nursery.start_soon(server.send_all, message)
        await trio.sleep(1)
        first = await client.receive_some(max_bytes)
        assert 0 < len(first) <= max_bytes
        assert bytes(first) + await receive_exactly(client, len(message) - len(first)) == message


async def test_both_sides_may_send_and_receive_at_once(autojump_clock: MockClock) -> None:
    messages = [os.urandom(300_000), os.urandom(300_000)]
    async with secured_pair() as (client, _, server, _), trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, messages[0])
        nursery.start_soon(server.send_all, messages[1])
        assert await receive_exactly(client, 300_000) == messages[1]
        assert await receive_exactly(server, 300_000) == messages[0]


async def test_two_writers_send_one_after_the_other(autojump_clock: MockClock) -> None:
    async with secured_pair() as (client, _, server, _), trio.open_nursery() as nursery:
        for letter in b"abc":
            nursery.start_soon(client.send_all, bytes([letter]) * 400_000)
        received = await receive_exactly(server, 1_200_000)
    assert sorted(received[at] for at in range(0, 1_200_000, 400_000)) == list(b"abc")
    assert all(len(set(received[at : at + 400_000])) == 1 for at in range(0, 1_200_000, 400_000))


async def test_a_stream_that_ends_ends_the_connection_and_what_came_before_is_read(autojump_clock: MockClock) -> None:
    """As HTTPS does: many sides send no last record."""
    async with secured_pair() as (client, _, server, _):
        await server.send_all(b"last words")
        await server.aclose()
        await trio.sleep(1)
        assert await client.receive_some() == b"last words"
        assert await client.receive_some() == b""
        assert await client.receive_some() == b""


async def test_a_damaged_record_breaks_the_connection(autojump_clock: MockClock) -> None:
    async with secured_pair() as (client, under, server, _):
        under.damage = True
        await server.send_all(b"hello")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await client.receive_some()
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        for use in (client.receive_some, lambda: client.send_all(b"x")):
            with pytest.raises(trio.BrokenResourceError):
                await use()


async def test_a_cancelled_write_breaks_the_connection(autojump_clock: MockClock) -> None:
    """Half a record may be sent: what followed it would be taken for its rest."""
    async with secured_pair() as (client, _, _, _):
        with trio.move_on_after(1):
            await client.send_all(bytes(1 << 20))
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"x")


async def test_a_closed_connection_says_so(autojump_clock: MockClock) -> None:
    async with secured_pair() as (client, _, _, _):
        await client.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await client.receive_some()


async def test_each_side_speaks_to_trio_s_own_tls(autojump_clock: MockClock) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with open_streams() as (stream, served, _), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            secured = await server_tls(served, CERTIFICATE, KEY)
            await secured.send_all(await secured.receive_some())

        other = trio.SSLStream(stream, context, server_hostname="server", https_compatible=True)
        await other.send_all(b"hello")
        assert await other.receive_some() == b"hello"


async def test_without_a_certificate_there_is_none_to_show(autojump_clock: MockClock) -> None:
    async with secured_pair() as (client, _, server, _):
        assert isinstance(client, TlsStream)
        assert isinstance(server, TlsStream)
        assert client.peer_certificate
        assert server.peer_certificate == b""


async def test_a_read_that_is_cancelled_loses_nothing(autojump_clock: MockClock) -> None:
    """Who closes a connection interrupts its reader, and then still reads the answer to that."""
    async with secured_pair() as (client, _, server, _):
        await server.send_all(b"one")
        await server.send_all(b"two")
        assert await client.receive_some(3) == b"one"
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.receive_some()
        assert scope.cancelled_caught
        assert await client.receive_some() == b"two"


async def test_tls_takes_something_at_once_only_while_the_stream_below_does(autojump_clock: MockClock) -> None:
    """TCP may still have to send what it took before."""
    stream, other = trio.testing.memory_stream_pair()
    below = PromptTap(stream)
    client = TlsStream(below, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), server_hostname="server")
    assert client.takes_nowait
    below.takes = False
    assert not client.takes_nowait
    await other.aclose()
