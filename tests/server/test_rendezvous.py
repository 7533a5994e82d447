"""Which connections are served, and that a stranger's bytes can do nothing."""

from __future__ import annotations

import errno
import random
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.crypto.admission import prove
from tunnel.model.errors import RemoteProtocolError
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.server import rendezvous
from tunnel.wire.signals import Challenge, ErrorSignal, Ping, Pong

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.server.conftest import Dial, Serve

    from tunnel.model.endpoint import Endpoint
    from tunnel.network.ports import StreamListener
    from tunnel.verify.memory.host import MemoryHost

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: server\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
GOOD = UPGRADE + b"Sec-WebSocket-Protocol: p2ptunnel.v1\r\n\r\n"

HOSTILE = {
    "nothing": b"",
    "noise": bytes(range(256)) * 20,
    "http": b"GET / HTTP/1.1\r\nHost: server\r\n\r\n",
    "tls": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(100),
    "no subprotocol": UPGRADE + b"\r\n",
    "subprotocol that is no text": UPGRADE + b"Sec-WebSocket-Protocol: \xff\r\n\r\n",
    "other subprotocol": UPGRADE + b"Sec-WebSocket-Protocol: chat\r\n\r\n",
    "endless header": UPGRADE + b"X: " + b"x" * 300_000,
    "text": GOOD + b"\x81\x85\x00\x00\x00\x00hello",
    "unmasked": GOOD + b"\x82\x05hello",
    "reserved bits": GOOD + b"\xf2\x85\x00\x00\x00\x00hello",
    "a length of 2**63": GOOD + b"\x82\xff" + b"\xff" * 8 + b"\x00" * 4,
    "a message too long": GOOD + b"\x82\xff" + (70_000).to_bytes(8, "big") + bytes(4) + bytes(70_000),
    "a first message longer than any signal": GOOD
    + b"\x82\xfe"
    + (20_000).to_bytes(2, "big")
    + bytes(4)
    + bytes(20_000),
    "endless empty fragments": GOOD + b"\x02\x80" + bytes(4) + (b"\x00\x80" + bytes(4)) * 200_000,
    "pings": GOOD + (b"\x89\x80" + bytes(4)) * 2700,
    "close": GOOD + b"\x88\x80" + bytes(4),
    "close with nonsense": GOOD + b"\x88\x83" + bytes(4) + b"\xff\xff\xff",
}


async def still_serves(dial: Dial) -> None:
    """A good node notices nothing."""
    async with dial("good") as good:
        await good.register()
        good.say(Ping(3))
        assert await good.hear(Pong) == Pong(3)


async def drain(stream: trio.abc.Stream) -> None:
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass


@pytest.mark.parametrize("ends_with_reset", [False, True])
@pytest.mark.parametrize("bytes_sent", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_bytes_end_their_own_connection_in_time(
    run_server: Serve,
    dial: Dial,
    add_client_host: Callable[[str], MemoryHost],
    fetch: Callable[..., Awaitable[tuple[int, bytes]]],
    bytes_sent: bytes,
    ends_with_reset: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with run_server() as server:
        stream = await add_client_host("stranger").open_stream(server.listen)
        began = trio.current_time()
        with suppress(trio.BrokenResourceError):
            await stream.send_all(bytes_sent)
        if ends_with_reset:
            add_client_host("stranger").kill()
            await trio.sleep(0.1)
        else:
            await drain(stream)
        assert trio.current_time() - began <= DEFAULT_TIMINGS.handshake_patience + 3.0
        await still_serves(dial)
        await trio.sleep(3.0)
        _, metrics = await fetch("/metrics")
        assert b"p2ptunnel_connections_open 0.0" in metrics
        assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


async def test_noise_after_a_good_handshake_ends_nothing_else(
    run_server: Serve, dial: Dial, add_client_host: Callable[[str], MemoryHost]
) -> None:
    chance = random.Random(7)
    async with run_server(max_connects_per_address_rate=1000.0) as server:
        for _ in range(50):
            stream = await add_client_host("stranger").open_stream(server.listen)
            with suppress(trio.BrokenResourceError):
                await stream.send_all(GOOD + chance.randbytes(chance.randrange(1, 400)))
            await trio.sleep(0.05)
            await stream.aclose()
        await still_serves(dial)


async def test_one_address_holds_so_many_strangers_and_no_more(run_server: Serve, dial: Dial) -> None:
    async with run_server(max_strangers_per_address=3), AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(dial(f"n{number}", host="crowd")) for number in range(4)]
        for stranger in crowd[1:]:
            await stranger.hear(Challenge)
        with trio.fail_after(0.5):
            await crowd[0].hear_end()
        await still_serves(dial)


async def test_the_server_holds_so_many_members_and_no_more(run_server: Serve, dial: Dial) -> None:
    async with (
        run_server(max_connections=2),
        dial("a", host="one") as a,
        dial("b", host="two") as b,
        dial("c", host="three") as c,
    ):
        await a.register()
        await b.register()
        c.say(prove(await c.hear(Challenge), c.network, c.keys, binding=b""))
        assert (await c.hear(ErrorSignal)).code == "server_full"


async def test_a_whole_office_behind_one_address_is_let_in(run_server: Serve, dial: Dial) -> None:
    """Its 65th node never was, and nobody told it why."""
    async with run_server(max_connects_per_address_burst=200), AsyncExitStack() as stack:
        for number in range(100):
            node = await stack.enter_async_context(dial(f"n{number}", host="office"))
            await node.register()


async def test_one_address_has_so_many_members_and_the_next_one_hears_why(run_server: Serve, dial: Dial) -> None:
    async with run_server(max_connections_per_address=2), dial("a", host="office") as a, dial("b", host="office") as b:
        await a.register()
        await b.register()
        async with dial("c", host="office") as c:
            c.say(prove(await c.hear(Challenge), c.network, c.keys, binding=b""))
            refusal = await c.hear(ErrorSignal)
        assert refusal.code == "address_full"
        assert "2 nodes are online from 26.0.0.1" in refusal.text
        await still_serves(dial)
        async with dial("b", host="office") as again:
            await again.register()


async def test_when_too_many_strangers_connect_the_oldest_goes_and_members_stay(
    run_server: Serve, dial: Dial, fetch: Callable[..., Awaitable[tuple[int, bytes]]]
) -> None:
    async with run_server(max_strangers=3), AsyncExitStack() as stack:
        member = await stack.enter_async_context(dial("member"))
        await member.register()
        crowd = [await stack.enter_async_context(dial(f"s{number}", host="crowd")) for number in range(3)]
        for stranger in crowd:
            await stranger.hear(Challenge)
        await still_serves(dial)
        with trio.fail_after(0.5):
            await crowd[0].hear_end()
        member.say(Ping(4))
        assert await member.hear(Pong) == Pong(4)
        assert b'p2ptunnel_connections_total{door="crowded_out"} 1.0' in (await fetch("/metrics"))[1]


async def test_a_flood_of_connections_from_one_address_is_cut_to_its_rate(run_server: Serve, dial: Dial) -> None:
    async with run_server(max_connects_per_address_burst=20, max_connects_per_address_rate=1.0) as server:
        assert server.listen.port == 8443
        let_in = [await is_let_in(dial, "flood") for _ in range(40)]
        assert 20 <= let_in.count(True) <= 30
        await still_serves(dial)
        await trio.sleep(5.0)
        assert await is_let_in(dial, "flood")


async def test_connections_that_say_nothing_keep_nobody_out_and_free_their_slots(
    run_server: Serve,
    dial: Dial,
    add_client_host: Callable[[str], MemoryHost],
    fetch: Callable[..., Awaitable[tuple[int, bytes]]],
) -> None:
    async with run_server(max_strangers_per_address=3) as server:
        for _ in range(3):
            await add_client_host("idle").open_stream(server.listen)
        assert await is_let_in(dial, "idle")
        await trio.sleep(DEFAULT_TIMINGS.handshake_patience + 1.0)
        assert b"p2ptunnel_connections_open 0.0" in (await fetch("/metrics"))[1]


async def test_who_connects_and_hangs_up_keeps_nobody_of_his_address_out(
    run_server: Serve, dial: Dial, add_client_host: Callable[[str], MemoryHost]
) -> None:
    """Forty-six times a second let two of thirty honest tries in."""
    async with run_server(max_connects_per_address_burst=5, max_connects_per_address_rate=1.0) as server:
        for _ in range(40):
            await (await add_client_host("office").open_stream(server.listen)).aclose()
            await trio.sleep(0.02)
        assert await is_let_in(dial, "office")


async def test_a_node_whose_network_gives_way_hears_why(run_server: Serve, dial: Dial) -> None:
    async with run_server(max_connections=2), dial("a", host="crowd") as a, dial("b", host="crowd") as b:
        await a.register()
        await b.register()
        async with dial("c", host="office") as c:
            await c.register()
            assert (await b.hear(ErrorSignal)).code == "server_full"


class FlakyListener:
    """A listener of a system that has run out of file descriptors for a moment."""

    def __init__(self, listener: StreamListener, failures: int) -> None:
        self._listener = listener
        self._failures = failures

    @property
    def local(self) -> Endpoint:
        return self._listener.local

    async def accept(self) -> tuple[trio.abc.Stream, Endpoint]:
        if self._failures:
            self._failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return await self._listener.accept()

    async def aclose(self) -> None:
        await self._listener.aclose()


async def test_a_system_that_cannot_accept_for_a_moment_ends_nothing(
    run_server: Serve,
    dial: Dial,
    server_host: MemoryHost,
    fetch: Callable[..., Awaitable[tuple[int, bytes]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_listener = server_host.open_listener

    async def open_flaky(local: Endpoint) -> FlakyListener:
        return FlakyListener(await open_listener(local), failures=5)

    monkeypatch.setattr(server_host, "open_listener", open_flaky)
    async with run_server():
        await still_serves(dial)
        assert await fetch("/healthz") == (200, b"ok\n")


async def test_a_bug_at_the_door_costs_one_connection(
    run_server: Serve, dial: Dial, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError

    async with run_server():
        with monkeypatch.context() as patch:
            patch.setattr(rendezvous, "accept_message_channel", fail)
            assert not await is_let_in(dial, "unlucky")
        assert "ZeroDivisionError" in caplog.text
        await still_serves(dial)


async def test_who_is_still_at_the_door_when_the_server_stops_holds_it_no_longer_than_the_others(
    run_server: Serve, add_client_host: Callable[[str], MemoryHost], dial: Dial
) -> None:
    async with run_server() as server, dial("desk") as desk:
        await desk.register()
        stream = await add_client_host("late").open_stream(server.listen)
        await trio.sleep(0.1)
        began = trio.current_time()
        server.stop()
        await stream.send_all(GOOD)
        await desk.hear_end()
        await drain(stream)
        await server.ended.wait()
        assert trio.current_time() - began <= 2.0


async def is_let_in(dial: Dial, host: str) -> bool:
    """Whether a new connection from this host gets as far as a challenge."""

    try:
        async with dial("newcomer", host=host) as node:
            await node.hear(Challenge)
            return True
    except (trio.BrokenResourceError, trio.EndOfChannel, RemoteProtocolError):
        return False
