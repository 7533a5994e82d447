"""What one node may say on its link, and how each wrong word ends: typed, alone, and without harm to others."""

from __future__ import annotations

import logging
import struct
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgpack
import pytest
import trio
from tests.server.counting_entropy import CountingEntropy

from tunnel.crypto.admission import prove
from tunnel.crypto.network_keys import derive_network_keys
from tunnel.crypto.node_keys import NodeKeys
from tunnel.model.endpoint import Endpoint
from tunnel.model.identity import NodeId
from tunnel.model.protocol_version import PROTOCOL_VERSION
from tunnel.model.rates import TokenBucket
from tunnel.model.settings import ServerSettings
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.network.link import Link
from tunnel.server.admission_control import AdmissionControl
from tunnel.server.connection import Connection
from tunnel.server.context import ServerContext
from tunnel.server.conversation import MESSAGES_RATE
from tunnel.server.introductions import Introductions
from tunnel.server.presence import Member, Presence
from tunnel.server.registry import Registry
from tunnel.server.relay import Relay
from tunnel.wire.relay_batch import encode_relay_batch
from tunnel.wire.signals import (
    MAX_BODY,
    MAX_SIGNAL,
    Announce,
    Announced,
    Challenge,
    Connect,
    ErrorSignal,
    Hello,
    Introduced,
    PeerDown,
    PeerUp,
    Ping,
    Pong,
    Refusal,
    Signal,
    Welcome,
    Withdraw,
    encode_signal,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.server.conftest import Dial, ScriptedNode, Serve

    from tunnel.verify.memory.host import MemoryHost
    from tunnel.verify.memory.internet import MemoryInternet
from tunnel.network.fair_queueing import Share


def refused(signals: list[Signal]) -> str:
    """The code of the error that the server ended with; nothing else was said."""
    (error,) = signals
    assert isinstance(error, ErrorSignal)
    return error.code


async def end_of(node: ScriptedNode) -> list[Signal]:
    """All that a node hears until the server closes."""
    await node.hear_end()
    heard, node.unread = node.unread, []
    return heard


def damaged(**changes: object) -> Callable[[Hello], Hello]:
    return lambda hello: replace(hello, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (damaged(signature=b"s" * 64), "not_authentic"),
        (damaged(proof=b"p" * 32), "not_authentic"),
        (damaged(network_key=b"k" * 32), "not_authentic"),
        (damaged(network_name=b"n" * 32), "not_authentic"),
        (damaged(node_key=b"n" * 32), "not_authentic"),
        (damaged(node_key=b"\x00" * 32), "not_authentic"),
        (damaged(wanted_address="10.86.0.1"), "not_authentic"),
        (damaged(version=2), "version"),
    ],
)
async def test_a_hello_that_proves_nothing_is_refused(
    run_server: Serve, dial: Dial, damage: Callable[[Hello], Hello], code: str
) -> None:
    async with run_server(), dial("desk") as desk:
        challenge = await desk.hear(Challenge)
        desk.say(damage(prove(challenge, desk.network, desk.keys, binding=b"")))
        assert refused(await end_of(desk)) == code


async def test_a_node_whose_signals_are_of_another_version_is_told_where_to_update(
    run_server: Serve, dial: Dial
) -> None:
    async with run_server(), dial("desk") as desk:
        challenge = await desk.hear(Challenge)
        desk.say(damaged(version=2)(prove(challenge, desk.network, desk.keys, binding=b"")))
        (error,) = await end_of(desk)
        assert isinstance(error, ErrorSignal)
        assert error.text.endswith("version 1, the node's of 2: update p2ptunnel-trio on the server")


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_node_of_any_version_is_welcomed_and_its_version_logged_where_it_is_another(
    run_server: Serve, dial: Dial, caplog: pytest.LogCaptureFixture, version: int
) -> None:
    """The server passes on sealed bytes: only nodes need to be of one version, among themselves."""
    caplog.set_level(logging.INFO)
    async with run_server(), dial("desk") as desk:
        welcome = await desk.register(protocol_version=version)
        assert welcome.protocol_version == PROTOCOL_VERSION
    (record,) = [record for record in caplog.records if record.message == "node registered"]
    assert record.__dict__.get("version") == (None if version == PROTOCOL_VERSION else version)


async def test_a_node_of_before_is_not_introduced_to_one_of_now(run_server: Serve, dial: Dial) -> None:
    async with run_server(), dial("desk") as desk, dial("laptop") as laptop:
        await desk.register(protocol_version=1)
        await laptop.register()
        await desk.announce()
        await laptop.announce()
        desk.connect(7, laptop)
        refusal = await desk.hear(Refusal)
        assert (refusal.id, refusal.peer, refusal.code) == (7, laptop.raw, "version_mismatch")


async def test_a_hello_for_another_challenge_is_refused(run_server: Serve, dial: Dial) -> None:
    """A recording of a good hello opens nothing."""
    async with run_server():
        async with dial("desk") as desk:
            recorded = prove(await desk.hear(Challenge), desk.network, desk.keys, binding=b"")
            desk.say(recorded)
            await desk.hear(Welcome)
        async with dial("thief") as thief:
            await thief.hear(Challenge)
            thief.say(recorded)
            assert refused(await end_of(thief)) == "not_authentic"


async def test_who_knows_another_secret_is_in_another_network(run_server: Serve, dial: Dial) -> None:
    async with run_server(), dial("desk") as desk, dial("stranger", network="elsewhere") as stranger:
        await desk.register()
        await stranger.register()
        await desk.announce()
        stranger.connect(1, desk)
        stranger.link.send_relay(desk.handle, b"psst")
        heard = await stranger.listen(20.0)
        assert [(type(signal), getattr(signal, "code", "")) for signal in heard] == [(Refusal, "peer_offline")]
        assert await desk.listen(1.0) == []
        assert desk.frames == []


@pytest.mark.parametrize(
    "signal",
    [
        Ping(1),
        Withdraw(),
        Connect(1, b"p" * 16),
        Announce(b"e" * 16, 1, b"body"),
        Welcome("", 0.0, Endpoint("192.0.2.1", 1), ()),
    ],
)
async def test_the_first_word_must_be_hello(run_server: Serve, dial: Dial, signal: Signal) -> None:
    async with run_server(), dial("desk") as desk:
        await desk.hear(Challenge)
        desk.say(signal)
        assert refused(await end_of(desk)) == "unexpected"


async def test_relay_frames_before_the_welcome_are_no_hello(run_server: Serve, dial: Dial) -> None:
    async with run_server(), dial("desk") as desk, dial("laptop") as laptop:
        await laptop.register()
        desk.link.send_relay(laptop.handle, b"too early")
        assert refused([signal for signal in await end_of(desk) if not isinstance(signal, Challenge)]) == "unexpected"
        await laptop.listen(1.0)
        assert laptop.frames == []


@pytest.mark.parametrize("signal", [Pong(5), PeerDown(b"p" * 16, "left"), Announced(1), ErrorSignal("boo")])
async def test_a_registered_node_says_node_s_words_only(run_server: Serve, dial: Dial, signal: Signal) -> None:
    async with run_server(), dial("desk") as desk:
        await desk.register()
        desk.say(signal)
        if isinstance(signal, Pong):
            assert await desk.listen(1.0) == [], "a pong that nobody asked for is only ignored"
        else:
            assert refused(await end_of(desk)) == "unexpected"


async def test_a_second_hello_is_refused(run_server: Serve, dial: Dial) -> None:
    async with run_server(), dial("desk") as desk:
        challenge = await desk.hear(Challenge)
        hello = prove(challenge, desk.network, desk.keys, binding=b"")
        desk.say(hello)
        await desk.hear(Welcome)
        desk.say(hello)
        assert refused(await end_of(desk)) == "unexpected"


async def test_who_says_no_hello_in_time_is_sent_away(run_server: Serve, dial: Dial) -> None:
    async with run_server(), dial("desk") as desk:
        await desk.hear(Challenge)
        began = trio.current_time()
        assert refused(await end_of(desk)) == "timeout"
        assert trio.current_time() - began <= DEFAULT_TIMINGS.handshake_patience + 0.1


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00",
        b"\xff" * 100,
        b"junk that is no MessagePack",
        msgpack.packb(["hello", {}]),
        msgpack.packb(["announce", {"epoch": b"short", "seq": 1, "body": b""}]),
        msgpack.packb(["announce", {"epoch": b"e" * 16, "seq": -1, "body": b""}]),
        msgpack.packb(["connect", {"id": 1, "peer": b"p" * 16, "x": b"x" * 9000}]),
        b"\x91" * 5000,
    ],
)
async def test_junk_is_the_end_of_its_own_link_only(run_server: Serve, dial: Dial, message: bytes) -> None:
    async with run_server(), dial("desk") as desk, dial("laptop") as laptop:
        await desk.register()
        await laptop.register()
        await laptop.channel.send(message)
        assert refused(await end_of(laptop)) == "malformed"
        desk.say(Ping(9))
        assert await desk.hear(Pong) == Pong(9)


async def test_a_word_from_a_later_version_is_skipped(run_server: Serve, dial: Dial) -> None:
    async with run_server(), dial("desk") as desk:
        await desk.register()
        await desk.channel.send(msgpack.packb(["sing", {"song": "any"}]))
        desk.say(Ping(9))
        assert await desk.hear(Pong) == Pong(9)


async def test_a_damaged_relay_batch_costs_its_damaged_part(run_server: Serve, dial: Dial) -> None:
    async with run_server(), dial("desk") as desk, dial("laptop") as laptop:
        await desk.register()
        await laptop.register()
        await desk.channel.send(encode_relay_batch([(laptop.handle, b"good")]) + b"\x01\x02\x03")
        await desk.channel.send(b"\xc1" + b"\x00" * 9)
        assert await laptop.hear_frames(1) == [(desk.handle, b"good")]
        desk.say(Ping(9))
        assert await desk.hear(Pong) == Pong(9)


async def test_an_announcement_that_is_too_big_is_refused(run_server: Serve, dial: Dial) -> None:
    async with run_server(max_announcement=100), dial("desk") as desk:
        await desk.register()
        await desk.announce(b"x" * 100)
        desk.say(Announce(b"e" * 16, 2, b"x" * 101))
        assert refused(await end_of(desk)) == "announcement_too_big"


async def test_too_many_signals_are_refused_and_the_others_hear_a_loss(run_server: Serve, dial: Dial) -> None:
    async with run_server(max_signals_rate=10.0, max_nodes_per_network=8), dial("desk") as desk, dial("loud") as loud:
        await desk.register()
        await loud.register()
        await loud.announce()
        await desk.hear(PeerUp)
        for token in range(200):
            loud.say(Ping(token))
        heard = await end_of(loud)
        assert refused([signal for signal in heard if not isinstance(signal, Pong)]) == "too_many_signals"
        assert await desk.hear(PeerDown) == PeerDown(loud.raw, "lost")


async def test_a_node_that_falls_silent_is_ended(run_server: Serve, dial: Dial) -> None:
    async with run_server(), dial("desk") as desk, dial("mute") as mute:
        await desk.register()
        await mute.register()
        mute.answers_pings = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.listen, 120.0)  # answering pings is enough to stay
            began = trio.current_time()
            assert refused(await end_of(mute)) == "silent"
            assert trio.current_time() - began == pytest.approx(DEFAULT_TIMINGS.silence_patience, abs=0.1)
        desk.say(Ping(9))
        assert await desk.hear(Pong) == Pong(9)


async def test_a_reader_that_stopped_is_ended_and_slows_nobody(run_server: Serve, dial: Dial) -> None:
    async with run_server(), dial("desk") as desk, dial("stuck") as stuck, dial("laptop") as laptop:
        for node in (desk, stuck, laptop):
            await node.register()
        await stuck.announce()
        await desk.hear(PeerUp)
        began = trio.current_time()
        for number in range(200):  # far more than all buffers on the way to `stuck` hold
            desk.link.send_relay(stuck.handle, bytes(8000))
            desk.link.send_relay(laptop.handle, number.to_bytes(2, "big"))
            await trio.sleep(0.01)
        frames = await laptop.hear_frames(200)
        assert [datagram for _, datagram in frames] == [number.to_bytes(2, "big") for number in range(200)]
        assert trio.current_time() - began < 2.5
        assert await desk.hear(PeerDown) == PeerDown(stuck.raw, "lost")
        assert trio.current_time() - began <= 2.5 + DEFAULT_TIMINGS.send_patience + DEFAULT_TIMINGS.server_ping


async def test_a_new_link_of_the_same_node_replaces_the_old_one(run_server: Serve, dial: Dial) -> None:
    async with run_server(), dial("laptop") as laptop:
        await laptop.register()
        async with dial("desk") as old, dial("desk", host="desk-2") as new:
            lease = await old.register()
            await old.announce()
            await laptop.hear(PeerUp)
            assert (await new.register()).address == lease.address
            assert refused(await end_of(old)) == "replaced"
            laptop.link.send_relay(new.handle, b"to the new one")
            assert await new.hear_frames(1) == [(laptop.handle, b"to the new one")]
            assert await laptop.listen(1.0) == [], "the peers notice nothing"


async def test_a_withdrawal_is_told_as_such(run_server: Serve, dial: Dial) -> None:
    async with run_server(), dial("desk") as desk:
        await desk.register()
        async with dial("laptop") as laptop:
            await laptop.register()
            await laptop.announce()
            laptop.say(Withdraw())
            await laptop.link.wait_signals_sent()
        heard = await desk.listen(1.0)
        assert [type(signal) for signal in heard] == [PeerUp, PeerDown]
        assert heard[1] == PeerDown(laptop.raw, "left")


async def test_a_killed_node_is_told_as_lost_at_once(
    run_server: Serve, dial: Dial, add_client_host: Callable[[str], MemoryHost]
) -> None:
    async with run_server(), dial("desk") as desk:
        await desk.register()
        async with dial("laptop") as laptop:
            await laptop.register()
            await laptop.announce()
            add_client_host("laptop").kill()
            assert await desk.hear(PeerDown) == PeerDown(laptop.raw, "lost")


async def test_the_server_measures_the_round_trip(run_server: Serve, dial: Dial, internet: MemoryInternet) -> None:
    """It shows in the introduction: the nearer one is told to wait."""
    internet.set_latency("far", "server", 0.150)
    async with run_server(), dial("near") as near, dial("far") as far:
        for node in (near, far):
            await node.register()
            await node.announce()
            await node.listen(0.5)
        near.connect(1, far)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.listen, 1.0)
            heard = await near.listen(1.0)
        assert isinstance(heard[-1], Introduced)
        assert heard[-1].start_in == pytest.approx(0.140)


async def test_a_network_that_is_full_refuses_and_leases_nothing(run_server: Serve, dial: Dial) -> None:
    async with run_server(max_nodes_per_network=1), dial("desk") as desk, dial("laptop") as laptop:
        await desk.register()
        laptop.say(prove(await laptop.hear(Challenge), laptop.network, laptop.keys, binding=b""))
        assert refused(await end_of(laptop)) == "network_full"


async def test_a_bug_ends_the_connection_that_found_it_only(
    run_server: Serve, dial: Dial, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError

    async with run_server(), dial("desk") as desk, dial("laptop") as laptop:
        await desk.register()
        await laptop.register()
        with monkeypatch.context() as patch:
            patch.setattr(Presence, "withdraw", fail)
            laptop.say(Withdraw())
            assert refused(await end_of(laptop)) == "internal_error"
        assert "ZeroDivisionError" in caplog.text
        desk.say(Ping(9))
        assert await desk.hear(Pong) == Pong(9)


@dataclass
class Pipe:
    """Messages to and from a connection under test, with nothing between."""

    sending: trio.MemorySendChannel[bytes]
    receiving: trio.MemoryReceiveChannel[bytes]

    async def send(self, *messages: bytes) -> None:
        for message in messages:
            await self.sending.send(message)

    @property
    def takes_nowait(self) -> bool:
        return False

    def send_nowait(self, *messages: bytes) -> bool:
        raise AssertionError("it takes nothing at once")

    async def receive(self) -> bytes:
        return await self.receiving.receive()


class Absent:
    """A member that only has announced itself."""

    def send_signal(self, signal: Signal) -> None:
        raise AssertionError("nobody speaks to it")

    def queue_relay(self, handle: bytes, datagram: bytes) -> bool:
        raise AssertionError("nobody speaks to it")

    def flush_relay(self) -> None:
        raise AssertionError("nobody speaks to it")


async def test_a_network_of_hundreds_is_told_to_a_newcomer_whole(server_host: MemoryHost) -> None:
    """More updates than a link's queue holds, and as many requests at once: neither breaks a link that is read."""
    count = 400
    keys, network = NodeKeys(b"n" * 32), derive_network_keys("home", b"s" * 32)
    settings, presence = ServerSettings(), Presence(1024)
    for number in range(count):
        member = Member(
            network.network_id,
            NodeId(struct.pack("!QQ", number, 0)),
            Absent(),
            lambda code, text: None,
            TokenBucket(1e6, 1e6, 0.0),
        )
        presence.join(member)
        presence.announce(member, Announce(b"e" * 16, 1, b"body"))
        member.leaving = True  # so that requests for it are refused
    introductions = Introductions(presence, settings.timings, CountingEntropy())
    admission = AdmissionControl(settings)
    slot = admission.take("26.0.0.1", lambda: None)
    assert slot is not None
    to_node, from_server = trio.open_memory_channel[bytes](0)
    to_server, from_node = trio.open_memory_channel[bytes](0)
    with closing(Registry(None, settings.addresses)) as registry:
        context = ServerContext(
            settings, server_host.world(), admission, presence, registry, Relay(presence, 1e6), introductions
        )
        server_link = Link(Pipe(to_node, from_node), timings=settings.timings, relay_queue=1000)
        node_link = Link(Pipe(to_server, from_server), timings=settings.timings, relay_queue=1000)
        connection = Connection(
            context,
            server_link,
            slot,
            Share(context.fair_queue),
            local=settings.listen,
            remote=Endpoint("26.0.0.1", 40000),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run, trio.current_time() + 5.0)
            nursery.start_soon(node_link.run_writer)
            challenge = await node_link.receive()
            assert isinstance(challenge, Challenge)
            node_link.send_signal(prove(challenge, network, keys, binding=b""))
            await node_link.wait_signals_sent()

            async def ask_everybody() -> None:
                for number in range(count):
                    await to_server.send(encode_signal(Connect(number, struct.pack("!QQ", number, 0))))

            nursery.start_soon(ask_everybody)
            heard: list[object] = []
            while len(heard) < 2 * count:
                signal = await node_link.receive()
                if isinstance(signal, PeerUp | Refusal):
                    heard.append(signal)
            nursery.cancel_scope.cancel()
    assert {signal.peer for signal in heard if isinstance(signal, PeerUp)} == {
        struct.pack("!QQ", number, 0) for number in range(count)
    }
    assert [signal.id for signal in heard if isinstance(signal, Refusal)] == list(range(count))


def test_what_the_server_says_fits_a_signal() -> None:
    body = b"x" * MAX_BODY
    assert len(encode_signal(PeerUp(b"p" * 16, b"e" * 16, 2**62, body))) <= MAX_SIGNAL
    assert len(encode_signal(Introduced(2**62, b"p" * 16, b"e" * 16, 1, body, b"e" * 16, 1, 1.0))) <= MAX_SIGNAL


@pytest.mark.parametrize("message", [b"\xc1", b"\x92\xa1x\x80"], ids=["empty batch", "unknown signal"])
async def test_messages_that_say_nothing_count_as_signals(run_server: Serve, dial: Dial, message: bytes) -> None:
    async with run_server(max_signals_rate=1.0, max_nodes_per_network=8), dial("desk") as desk:
        await desk.register()
        with suppress(trio.BrokenResourceError, trio.EndOfChannel):
            for _ in range(30):
                await desk.channel.send(message)
        assert (await desk.hear(ErrorSignal)).code == "too_many_signals"


async def test_a_member_is_read_at_a_rate_of_messages_and_loses_none(run_server: Serve, dial: Dial) -> None:
    """Each message costs the server time, however small."""
    count = int(MESSAGES_RATE)
    async with run_server(), dial("desk") as desk, dial("laptop") as laptop:
        await desk.register()
        await laptop.register()
        began = trio.current_time()
        batch = encode_relay_batch([(laptop.handle, b"x")])
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                for _ in range(count):
                    await desk.channel.send(batch)

            await laptop.hear_frames(count)
        assert 0.7 <= trio.current_time() - began <= 2.0


async def test_a_member_that_takes_nothing_holds_no_memory_for_long(
    run_server: Serve, dial: Dial, fetch: Callable[..., Awaitable[tuple[int, bytes]]]
) -> None:
    async with run_server(relay_memory=1 << 20), dial("desk") as desk, dial("slow") as slow:
        await desk.register()
        await slow.register()
        for _ in range(200):
            await desk.channel.send(encode_relay_batch([(slow.handle, bytes(1400))] * 40))
        await trio.sleep(2.5)
        status, metrics = await fetch("/metrics")
        assert status == 200
        assert b"p2ptunnel_relay_memory_bytes 0.0" in metrics
        assert b'p2ptunnel_relay_dropped_frames_total{why="slow_receiver"} 0.0' not in metrics


async def test_a_fragment_ends_the_connection_of_its_sender_with_a_word(run_server: Serve, dial: Dial) -> None:
    """Sixteen such connections froze the server for everybody."""
    async with run_server(), dial("desk") as desk, dial("honest") as honest:
        await desk.register()
        await honest.register()
        await desk.channel._stream.send_all(b"\x02\x80" + bytes(4) + (b"\x00\x80" + bytes(4)) * 1000)
        end = await end_of(desk)
        assert refused(end) == "protocol"
        honest.say(Ping(9))
        assert await honest.hear(Pong) == Pong(9)
