"""Message channels over streams in memory: what goes in comes out, and every ending has its error."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import pytest
import trio
from tests.network.stream_pair import open_streams
from trio.testing import MockClock

from tunnel.model.errors import LocalProtocolError, RemoteProtocolError
from tunnel.network.websocket import MessageChannel, accept_message_channel, open_message_channel

MAX_MESSAGE = 65536
Side = Callable[[MessageChannel], Awaitable[None]]


async def converse(client: Side, server: Side) -> None:
    """Run both sides of a conversation, each in its own context; a side's errors come out."""

    async def run_client() -> None:
        async with open_message_channel(stream, host="server", patience=5, max_message=MAX_MESSAGE) as channel:
            await client(channel)

    async def run_server() -> None:
        async with accept_message_channel(served, patience=5, max_message=MAX_MESSAGE) as channel:
            await server(channel)

    async with open_streams() as (stream, served, _), trio.open_nursery() as nursery:
        nursery.start_soon(run_client)
        nursery.start_soon(run_server)


async def expect_end(channel: MessageChannel) -> None:
    with pytest.raises(trio.EndOfChannel):
        await channel.receive()


async def receive_for_ever(channel: MessageChannel) -> None:
    while True:
        assert await channel.receive() == bytes(60_000)


async def test_messages_go_both_ways_whole_and_in_order(autojump_clock: MockClock) -> None:
    messages = [b"", b"x", bytes(range(256)) * 256]

    async def client(channel: MessageChannel) -> None:
        for message in messages:
            await channel.send(message)
        assert [await channel.receive() for _ in messages] == messages

    async def server(channel: MessageChannel) -> None:
        for _ in messages:
            await channel.send(await channel.receive())
        await expect_end(channel)

    await converse(client, server)


async def test_what_was_sent_before_a_polite_close_still_arrives(autojump_clock: MockClock) -> None:
    """The server's last word, an error, must reach the node."""

    async def client(channel: MessageChannel) -> None:
        assert await channel.receive() == b"last word"
        await expect_end(channel)

    async def server(channel: MessageChannel) -> None:
        await channel.send(b"last word")

    await converse(client, server)


async def test_an_error_of_the_block_leaves_as_it_is(autojump_clock: MockClock) -> None:
    """Not wrapped in a group, so that callers can catch it by its type."""

    async with open_streams() as (stream, served, _), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            async with accept_message_channel(served, patience=5, max_message=MAX_MESSAGE) as channel:
                await expect_end(channel)

        with pytest.raises(LookupError, match="mine"):
            async with open_message_channel(stream, host="server", patience=5, max_message=MAX_MESSAGE):
                raise LookupError("mine")


async def test_a_cancelled_block_stays_cancelled_and_does_not_linger(autojump_clock: MockClock) -> None:
    async def server(channel: MessageChannel) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await channel.receive()

    after = []

    async def client(channel: MessageChannel) -> None:
        begun = trio.current_time()
        with trio.move_on_after(3) as scope:
            await channel.receive()
        assert scope.cancelled_caught
        assert trio.current_time() - begun == pytest.approx(3)

    async with open_streams() as (stream, served, _), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            async with accept_message_channel(served, patience=5, max_message=MAX_MESSAGE) as channel:
                await server(channel)

        with trio.move_on_after(3):
            async with open_message_channel(stream, host="server", patience=5, max_message=MAX_MESSAGE) as channel:
                await channel.receive()
            after.append("the block went on")
    assert after == []


async def test_a_cancelled_block_with_tasks_of_its_own_does_not_linger_either(autojump_clock: MockClock) -> None:
    """What leaves its nursery is a group of cancellations; a second lost at the end of every program."""
    async with open_streams() as (stream, served, _), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            async with accept_message_channel(served, patience=5, max_message=MAX_MESSAGE) as channel:
                with pytest.raises(trio.BrokenResourceError):
                    await channel.receive()

        begun = trio.current_time()
        with trio.move_on_after(3):
            async with (
                open_message_channel(stream, host="server", patience=5, max_message=MAX_MESSAGE) as channel,
                trio.open_nursery() as beside,
            ):
                beside.start_soon(channel.receive)
                await trio.sleep_forever()
        assert trio.current_time() - begun == pytest.approx(3)


async def test_a_cancelled_send_breaks_the_channel(autojump_clock: MockClock) -> None:
    """Half a frame was sent, and the next message would be eaten as its other half."""

    async def client(channel: MessageChannel) -> None:
        with trio.move_on_after(3) as scope:
            while True:
                await channel.send(bytes(60_000))
        assert scope.cancelled_caught
        with pytest.raises(trio.BrokenResourceError):
            await channel.send(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await channel.receive()

    async def server(channel: MessageChannel) -> None:
        await trio.sleep(10)
        with pytest.raises(trio.BrokenResourceError):
            await receive_for_ever(channel)

    await converse(client, server)


async def test_a_cancelled_send_wakes_the_receiving_task(autojump_clock: MockClock) -> None:
    async def client(channel: MessageChannel) -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def receive() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await channel.receive()

            with trio.move_on_after(3):
                while True:
                    await channel.send(bytes(60_000))

    async def server(channel: MessageChannel) -> None:
        await trio.sleep(10)

    await converse(client, server)


async def test_a_stream_that_dies_is_no_polite_end(autojump_clock: MockClock) -> None:
    async with open_streams() as (stream, served, _), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            async with accept_message_channel(served, patience=5, max_message=MAX_MESSAGE) as channel:
                assert await channel.receive() == b"x"
                served.reset()  # type: ignore[attr-defined]

        async with open_message_channel(stream, host="server", patience=5, max_message=MAX_MESSAGE) as channel:
            await channel.send(b"x")
            with pytest.raises(trio.BrokenResourceError):
                await channel.receive()
            with pytest.raises(trio.BrokenResourceError):
                await channel.send(b"y")


async def test_a_message_that_is_too_long_is_refused_on_both_sides(autojump_clock: MockClock) -> None:
    async def client(channel: MessageChannel) -> None:
        with pytest.raises(LocalProtocolError):
            await channel.send(bytes(MAX_MESSAGE + 1))
        channel._max_message = 2 * MAX_MESSAGE  # a client that does not care
        await channel.send(bytes(MAX_MESSAGE + 1))
        with pytest.raises(RemoteProtocolError, match="1009"):
            await channel.receive()

    async def server(channel: MessageChannel) -> None:
        with pytest.raises(RemoteProtocolError, match="1009"):
            await channel.receive()

    await converse(client, server)


async def test_the_first_message_of_a_stranger_may_have_a_limit_of_its_own(autojump_clock: MockClock) -> None:
    async def serve(stream: trio.abc.Stream, outcome: list[bytes | str]) -> None:
        try:
            async with accept_message_channel(stream, patience=5, max_message=MAX_MESSAGE, max_first=1000) as channel:
                outcome.append(await channel.receive())
                await channel.send(b"welcome")
                outcome.append(await channel.receive())
        except RemoteProtocolError as error:
            outcome.append(str(error))

    async def speak(*messages: bytes) -> list[bytes | str]:
        outcome: list[bytes | str] = []
        async with open_streams() as (stream, served, _), trio.open_nursery() as nursery:
            nursery.start_soon(serve, served, outcome)
            async with open_message_channel(stream, host="server", patience=5, max_message=MAX_MESSAGE) as channel:
                with contextlib.suppress(trio.EndOfChannel, trio.BrokenResourceError):
                    for message in messages:
                        await channel.send(message)
                        await channel.receive()
        return outcome

    assert await speak(bytes(900), bytes(60_000)) == [bytes(900), bytes(60_000)]
    assert await speak(bytes(1100)) == ["a first message of 1100 bytes"]


HEAD = (
    b"GET / HTTP/1.1\r\nHost: server\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: p2ptunnel.v1\r\n\r\n"
)
HELLO = b"\x82\x85" + bytes(4) + b"hello"
EARLY = "bytes after the handshake and before its answer"


@pytest.mark.parametrize(
    ("pieces", "outcome"),
    [
        ((HEAD, HELLO), b"hello"),
        ((HEAD, HELLO[:1], HELLO[1:4], HELLO[4:]), b"hello"),
        ((HEAD[:-2], HEAD[-2:], HELLO), b"hello"),
        ((HEAD, HELLO + HELLO), "more bytes than those of the first message"),
        ((HEAD, HELLO[:-1], HELLO[-1:] + b"\x89"), "more bytes than those of the first message"),
        ((HEAD, b"\x89\x80" + bytes(4)), "the first frame is no whole message"),
        ((HEAD, b"\x8a\x80" + bytes(4)), "the first frame is no whole message"),
        ((HEAD, b"\x02\x80" + bytes(4)), "the first frame is no whole message"),
        ((HEAD, b"\x82\xfe\x03", b"\xe8" + bytes(4)), "a first message of 1000 bytes"),
        ((HEAD, b"\x82\xff" + b"\xff" * 8), f"a first message of {2**64 - 1} bytes"),
        ((HEAD + HELLO,), EARLY),
        ((HEAD[:-1], HEAD[-1:] + HELLO), EARLY),
        ((HEAD[:20], b"x" * 8192), "8212 bytes, and no handshake in them"),
    ],
)
async def test_a_stranger_sends_one_frame_and_waits(
    autojump_clock: MockClock, pieces: tuple[bytes, ...], outcome: bytes | str
) -> None:
    """Each frame costs the server time, so thousands of small ones must not be parsed for somebody unknown."""
    heard: list[bytes | str] = []
    async with open_streams() as (stream, served, _), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            try:
                async with accept_message_channel(
                    served, patience=5, max_message=MAX_MESSAGE, max_first=1000
                ) as channel:
                    heard.append(await channel.receive())
            except RemoteProtocolError as error:
                heard.append(str(error))

        for piece in pieces:
            await stream.send_all(piece)
            await trio.sleep(0.2)
        await trio.sleep(6.0)
        nursery.cancel_scope.cancel()
    assert heard == [outcome]


async def test_a_closed_channel_says_that_we_closed_it(autojump_clock: MockClock) -> None:
    async def client(channel: MessageChannel) -> None:
        await channel.aclose()
        await channel.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await channel.send(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await channel.receive()

    await converse(client, expect_end)


async def test_a_peer_that_does_not_answer_the_close_is_not_waited_for_long(autojump_clock: MockClock) -> None:
    async def server(channel: MessageChannel) -> None:
        await trio.sleep(60)
        await expect_end(channel)

    async with open_streams() as (stream, served, internet), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            async with accept_message_channel(served, patience=5, max_message=MAX_MESSAGE):
                await trio.sleep(60)

        async with open_message_channel(stream, host="server", patience=5, max_message=MAX_MESSAGE):
            internet.drop = lambda packet: True
            begun = trio.current_time()
        assert trio.current_time() - begun < 2
        internet.drop = None


async def test_a_silent_other_side_ends_the_handshake_in_time(autojump_clock: MockClock) -> None:
    async with open_streams() as (stream, served, _):
        with pytest.raises(trio.TooSlowError):
            async with accept_message_channel(served, patience=5, max_message=MAX_MESSAGE):
                pass
        with pytest.raises(trio.BrokenResourceError):
            async with open_message_channel(stream, host="server", patience=5, max_message=MAX_MESSAGE):
                pass


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "HTTP 403"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno", "HTTP 502"),
        (b"220 mail.example ESMTP\r\n\r\n", "broke the WebSocket protocol"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "broke the WebSocket protocol"),
    ],
)
async def test_a_server_of_another_kind_is_told_apart(autojump_clock: MockClock, answer: bytes, words: str) -> None:
    async with open_streams() as (stream, served, _):
        await served.send_all(answer)
        with pytest.raises(RemoteProtocolError, match=words):
            async with open_message_channel(stream, host="server", patience=5, max_message=MAX_MESSAGE):
                pass
