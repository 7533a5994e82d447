"""The UDP relay passes on between the bound sides of a circuit, answers holders of its keys, and counts the rest."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import trio
from tests.server.counting_entropy import CountingEntropy

from tunnel.crypto.circuit_seal import open_binding, seal_binding
from tunnel.model.endpoint import Endpoint
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.rates import TokenBucket
from tunnel.network.datagrams import Segments
from tunnel.server.bind_cookies import COOKIE_PERIOD
from tunnel.server.circuits import BIND_LIFE, PROVES_A_SECOND, Circuits
from tunnel.server.presence import Member, Presence
from tunnel.server.relay import FRAME_COST
from tunnel.server.udp_relay import UdpRelay
from tunnel.wire.circuits import NO_COOKIE, Binding, Word, encode_passed
from tunnel.wire.signals import Allocate, Circuit, Signal

HOME = NetworkId(b"h" * 16)
LAPTOP = Endpoint("25.1.0.1", 5001)
TILL = Endpoint("25.2.0.1", 5002)
ELSEWHERE = Endpoint("25.1.0.1", 61234)
OWN, ALIAS = "25.0.0.1", "25.0.0.2"
"""Two addresses of the server."""
RATE = 10000.0


@dataclass
class Socket:
    """What the server sends from one of its sockets, written down."""

    local: Endpoint
    sent: list[tuple[bytes, Endpoint]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    room: int = 1000
    calls: int = 0
    """How often it sent on what was received."""

    def send_nowait(self, datagram: bytes, remote: Endpoint, source: str) -> bool:
        if len(self.sent) >= self.room:
            return False
        assert source in (self.local.host, ALIAS)
        self.sources.append(source)
        self.sent.append((datagram, remote))
        return True

    def send_segments(self, segments: Segments, remote: Endpoint, source: str) -> int:
        self.calls += 1
        return sum(self.send_nowait(datagram, remote, source) for datagram in segments.datagrams())

    async def receive_batch(self) -> list[tuple[bytes, Endpoint, str]]:
        raise AssertionError("the relay is given what comes")

    async def receive_segments(self) -> list[Segments]:
        raise AssertionError("the relay is given what comes")

    def close(self) -> None:
        """Nothing to close."""


class Box:
    def send_signal(self, signal: Signal) -> None:
        raise AssertionError("circuits are peer updates")

    def queue_relay(self, handle: bytes, datagram: bytes) -> bool:
        return False

    def flush_relay(self) -> None:
        pass


class Room:
    """A relay with two sockets, two members and a circuit between them."""

    def __init__(self) -> None:
        self.presence = Presence(10)
        self.circuits = Circuits(self.presence, CountingEntropy())
        self.sockets = [Socket(Endpoint(OWN, 3478)), Socket(Endpoint(OWN, 3479))]
        self.relay = UdpRelay(self.circuits, self.sockets, b"secret" * 5)
        self.laptop, self.till = self._join("laptop"), self._join("till")
        self.circuits.allocate(self.laptop, Allocate(self.till.node.raw))

    def _join(self, name: str) -> Member:
        allowance = TokenBucket(RATE, RATE, trio.current_time())
        member = Member(HOME, NodeId(name.encode().ljust(16, b".")), Box(), lambda code, text: None, allowance)
        self.presence.join(member)
        return member

    async def hear(self) -> tuple[Circuit, Circuit]:
        """What both were told of their circuit."""
        words = [member.updates.take_nowait() for member in (self.laptop, self.till)]
        assert isinstance(words[0], Circuit)
        assert isinstance(words[1], Circuit)
        return words[0], words[1]

    def ask(
        self,
        circuit: Circuit,
        counter: int,
        remote: Endpoint,
        socket: int = 0,
        *,
        cookie: bytes = NO_COOKIE,
        own: str = OWN,
    ) -> None:
        """One bind."""
        datagram = seal_binding(circuit.key, Binding(Word.BIND, circuit.circuit, counter, cookie=cookie))
        self.relay.handle_untrusted(socket, Segments(datagram, remote, own=own))

    def cookie(self, circuit: Circuit, counter: int, remote: Endpoint, socket: int = 0) -> bytes:
        """What the server sends to a 5-tuple that nothing is bound to."""
        self.ask(circuit, counter, remote, socket)
        answer, to = self.sockets[socket].sent.pop()
        assert to == remote
        proof = open_binding(circuit.key, answer)
        assert proof == Binding(Word.PROVE, circuit.circuit, counter, cookie=proof.cookie)
        return proof.cookie

    def bind(self, circuit: Circuit, counter: int, remote: Endpoint, socket: int = 0) -> None:
        """What a node does that hears the server there."""
        cookie = self.cookie(circuit, counter, remote, socket)
        self.ask(circuit, counter, remote, socket, cookie=cookie)

    def take(self, socket: int = 0) -> list[tuple[bytes, Endpoint]]:
        sent, self.sockets[socket].sent = self.sockets[socket].sent, []
        return sent

    async def bound(self) -> tuple[Circuit, Circuit]:
        """Both sides bound, what was answered forgotten."""
        laptop, till = await self.hear()
        self.bind(laptop, 0, LAPTOP)
        self.bind(till, 0, TILL)
        self.take()
        return laptop, till


def said(circuit: Circuit, answer: bytes) -> Binding:
    """An answer but for its cookie."""
    return replace(open_binding(circuit.key, answer), cookie=NO_COOKIE)


@pytest.fixture
async def room(autojump_clock: trio.testing.MockClock) -> Room:
    return Room()


async def test_each_side_is_told_when_the_circuit_is_whole(room: Room) -> None:
    """The first to bind hears of the second at once: it need not ask again to know."""
    laptop, till = await room.hear()
    room.bind(laptop, 7, LAPTOP)
    [(answer, to)] = room.take()
    assert to == LAPTOP
    assert said(laptop, answer) == Binding(Word.BOUND, laptop.circuit, 7, is_whole=False)
    room.bind(till, 0, TILL, socket=1)
    [(answer, to)] = room.take(1)
    assert to == TILL
    assert said(till, answer) == Binding(Word.BOUND, till.circuit, 0, is_whole=True)
    [(answer, to)] = room.take(0)
    assert to == LAPTOP
    assert said(laptop, answer) == Binding(Word.BOUND, laptop.circuit, 7, is_whole=True)


async def test_datagrams_go_on_as_they_are_between_the_bound_ends(room: Room) -> None:
    laptop, till = await room.hear()
    room.bind(laptop, 0, LAPTOP, socket=0)
    room.bind(till, 0, TILL, socket=1)
    room.take(0)
    room.take(1)
    there, back = encode_passed(laptop.circuit, b"there"), encode_passed(till.circuit, b"back")
    room.relay.handle_untrusted(0, Segments(there, LAPTOP, own=OWN))
    room.relay.handle_untrusted(1, Segments(back, TILL, own=OWN))
    assert room.take(1) == [(there, TILL)]
    assert room.take(0) == [(back, LAPTOP)]
    assert (room.relay.statistics.datagrams, room.relay.statistics.bytes) == (2, 9)


async def test_datagrams_of_one_read_go_on_by_one_call(room: Room) -> None:
    """They are a record's fragments: one look-up, one charge, one system call for all."""
    laptop, _ = await room.bound()
    fragments = [encode_passed(laptop.circuit, bytes([number]) * size) for number, size in enumerate((90, 90, 90, 7))]
    room.relay.handle_untrusted(0, Segments(b"".join(fragments), LAPTOP, len(fragments[0]), OWN))
    assert room.take() == [(fragment, TILL) for fragment in fragments]
    assert room.sockets[0].calls == 1
    assert (room.relay.statistics.datagrams, room.relay.statistics.bytes) == (4, 277)


async def test_each_datagram_of_one_read_is_judged_alone_if_they_differ(room: Room) -> None:
    laptop, till = await room.bound()
    bind = seal_binding(laptop.key, Binding(Word.BIND, laptop.circuit, 1, cookie=room.cookie(laptop, 1, LAPTOP)))
    passed = encode_passed(laptop.circuit, bytes(len(bind) - len(encode_passed(0, b""))))
    foreign = encode_passed(till.circuit ^ 1, bytes(len(bind) - len(encode_passed(0, b""))))
    room.relay.handle_untrusted(0, Segments(passed + bind + foreign + passed[:20], LAPTOP, len(bind), OWN))
    sent = room.take()
    assert [(datagram, to) for datagram, to in sent if to == TILL] == [(passed, TILL), (passed[:20], TILL)]
    assert [said(laptop, answer).word for answer, to in sent if to == LAPTOP] == [Word.BOUND]
    assert room.relay.statistics.dropped_no_circuit == 1


@pytest.mark.parametrize(("socket", "remote"), [(0, ELSEWHERE), (1, LAPTOP), (0, LAPTOP._replace(host="25.1.0.2"))])
async def test_what_comes_from_an_end_that_is_not_bound_is_dropped_and_counted(
    room: Room, socket: int, remote: Endpoint
) -> None:
    laptop, _ = await room.bound()
    room.relay.handle_untrusted(socket, Segments(encode_passed(laptop.circuit, b"x"), remote, own=OWN))
    assert room.take(0) == room.take(1) == []
    assert room.relay.statistics.dropped_not_bound == 1


async def test_each_end_hears_from_the_address_that_it_asked(room: Room) -> None:
    """On a machine with two addresses: no NAT lets in what comes from the other one."""
    laptop, till = await room.hear()
    cookie = room.cookie(laptop, 0, LAPTOP)
    room.ask(laptop, 1, LAPTOP, cookie=cookie, own=ALIAS)
    [(answer, _)] = room.take()
    proof = open_binding(laptop.key, answer)
    assert proof.word is Word.PROVE, "another address of ours is another 5-tuple"
    room.ask(laptop, 2, LAPTOP, cookie=proof.cookie, own=ALIAS)
    room.bind(till, 0, TILL)
    room.take()
    del room.sockets[0].sources[:]
    room.relay.handle_untrusted(0, Segments(encode_passed(laptop.circuit, b"x"), LAPTOP, own=ALIAS))
    room.relay.handle_untrusted(0, Segments(encode_passed(till.circuit, b"x"), TILL, own=OWN))
    assert [to for _, to in room.take()] == [TILL, LAPTOP]
    assert room.sockets[0].sources == [OWN, ALIAS]


async def test_nothing_goes_to_an_end_that_was_not_bound_or_not_for_long(room: Room) -> None:
    """Somebody else may have that endpoint by now."""
    laptop, till = await room.hear()
    room.bind(laptop, 0, LAPTOP)
    room.take()
    room.relay.handle_untrusted(0, Segments(encode_passed(laptop.circuit, b"x"), LAPTOP, own=OWN))
    assert room.relay.statistics.dropped_half_bound == 1
    room.bind(till, 0, TILL)
    await trio.sleep(BIND_LIFE + 1)
    room.bind(laptop, 1, LAPTOP)
    room.take()
    room.relay.handle_untrusted(0, Segments(encode_passed(laptop.circuit, b"x"), LAPTOP, own=OWN))
    assert room.relay.statistics.dropped_half_bound == 2
    assert room.take() == []


async def test_an_end_moves_by_a_newer_bind_at_once(room: Room) -> None:
    """A NAT has rebound it."""
    laptop, till = await room.bound()
    room.bind(laptop, 1, ELSEWHERE)
    assert [to for _, to in room.take()] == [ELSEWHERE]
    back = encode_passed(till.circuit, b"back")
    room.relay.handle_untrusted(0, Segments(back, TILL, own=OWN))
    assert room.take() == [(back, ELSEWHERE)]
    assert room.relay.statistics.moves == 1


@pytest.mark.parametrize("counter", [0, 4, 5])
async def test_a_recorded_bind_moves_nothing_and_is_not_answered(room: Room, counter: int) -> None:
    laptop, till = await room.bound()
    room.bind(laptop, 5, LAPTOP)
    room.take()
    room.ask(laptop, counter, ELSEWHERE)
    back = encode_passed(till.circuit, b"back")
    room.relay.handle_untrusted(0, Segments(back, TILL, own=OWN))
    assert room.take() == [(back, LAPTOP)]
    assert room.relay.statistics.binds_refused == 1


async def test_who_holds_no_key_of_the_circuit_binds_nothing_and_hears_nothing(room: Room) -> None:
    laptop, _ = await room.bound()
    stranger = Circuit(laptop.peer, laptop.circuit, b"?" * 32)
    nowhere = Circuit(laptop.peer, laptop.circuit + 1, laptop.key)
    room.ask(stranger, 9, ELSEWHERE)
    room.ask(nowhere, 9, ELSEWHERE)
    assert room.take() == []
    assert room.relay.statistics.binds_refused == 2


async def test_an_answer_is_not_longer_than_its_question(room: Room) -> None:
    laptop, _ = await room.hear()
    for cookie in (NO_COOKIE, room.cookie(laptop, 0, LAPTOP)):
        question = seal_binding(laptop.key, Binding(Word.BIND, laptop.circuit, 0, cookie=cookie))
        room.relay.handle_untrusted(0, Segments(question, LAPTOP, own=OWN))
        assert [len(answer) for answer, _ in room.take()] == [len(question)]


async def test_nothing_is_aimed_at_who_did_not_answer(room: Room) -> None:
    """Else a forged source would send all that the other side sends to a victim (RFC 9000 section 8.1)."""
    laptop, till = await room.hear()
    room.bind(laptop, 0, LAPTOP)
    room.ask(till, 0, TILL)
    for number, cookie in enumerate((NO_COOKIE, bytes(range(8)), room.cookie(till, 1, LAPTOP)), 2):
        room.ask(till, number, TILL, cookie=cookie)
    room.take()
    room.relay.handle_untrusted(0, Segments(encode_passed(laptop.circuit, b"flood"), LAPTOP, own=OWN))
    assert room.take() == []
    assert room.relay.statistics.dropped_half_bound == 1
    assert room.relay.statistics.binds == 1


async def test_until_the_new_end_is_proved_the_old_one_stays(room: Room) -> None:
    laptop, till = await room.bound()
    room.ask(laptop, 1, ELSEWHERE)
    room.take()
    back = encode_passed(till.circuit, b"back")
    room.relay.handle_untrusted(0, Segments(back, TILL, own=OWN))
    assert room.take() == [(back, LAPTOP)]
    assert room.relay.statistics.moves == 0


async def test_a_cookie_is_of_one_side_one_socket_one_endpoint_and_some_time(room: Room) -> None:
    laptop, till = await room.hear()
    cookies = {
        room.cookie(laptop, 0, LAPTOP),
        room.cookie(till, 0, LAPTOP),
        room.cookie(laptop, 0, LAPTOP, socket=1),
        room.cookie(laptop, 0, LAPTOP._replace(port=1)),
        room.cookie(laptop, 0, LAPTOP._replace(host="25.1.0.2")),
    }
    await trio.sleep(COOKIE_PERIOD)
    assert len({*cookies, room.cookie(laptop, 0, LAPTOP)}) == 6


async def test_who_keeps_bound_hears_a_fresh_cookie_each_time_and_who_does_not_hear_it_is_not_kept(room: Room) -> None:
    """Who has left an address cannot have it flooded for longer than the cookies last that he heard there."""
    laptop, _ = await room.bound()
    first = cookie = room.cookie(laptop, 1, LAPTOP)
    for counter in range(1, 10):
        room.ask(laptop, counter, LAPTOP, cookie=cookie)
        [(answer, _)] = room.take()
        bound = open_binding(laptop.key, answer)
        assert bound.word is Word.BOUND
        cookie = bound.cookie
        await trio.sleep(15.0)
    room.ask(laptop, 10, LAPTOP, cookie=first)
    [(answer, _)] = room.take()
    assert open_binding(laptop.key, answer).word is Word.PROVE


async def test_one_side_is_sent_only_so_many_cookies(room: Room) -> None:
    laptop, _ = await room.hear()
    for counter in range(30):
        room.ask(laptop, counter, LAPTOP)
    assert len(room.take()) == PROVES_A_SECOND
    assert room.relay.statistics.binds_limited == 30 - PROVES_A_SECOND
    await trio.sleep(1.0)
    room.bind(laptop, 100, LAPTOP)
    assert len(room.take()) == 1


async def test_recordings_of_a_bind_that_was_not_taken_do_not_keep_the_next_one_out(room: Room) -> None:
    laptop, _ = await room.hear()
    cookie = room.cookie(laptop, 0, LAPTOP)
    for _ in range(30):
        room.ask(laptop, 0, ELSEWHERE)
    assert room.relay.statistics.binds_limited > 0
    room.take()
    room.ask(laptop, 1, LAPTOP, cookie=cookie)
    assert [said(laptop, answer).word for answer, _ in room.take()] == [Word.BOUND]


async def test_nobody_else_uses_up_the_binds_of_a_side(room: Room) -> None:
    """In its name: from its address, of no circuit, of its circuit under no key, and of the other side."""
    laptop, till = await room.hear()
    for counter in range(1000):
        room.ask(Circuit(laptop.peer, 12345, laptop.key), counter, LAPTOP)
        room.ask(Circuit(laptop.peer, laptop.circuit, b"?" * 32), counter, LAPTOP)
        room.ask(till, counter, LAPTOP)
    room.take()
    room.bind(laptop, 0, LAPTOP)
    assert [said(laptop, answer).word for answer, _ in room.take()] == [Word.BOUND]


async def test_a_node_s_rate_covers_what_it_sends_over_both_relays(room: Room) -> None:
    laptop, _ = await room.bound()
    datagram = encode_passed(laptop.circuit, bytes(1000 - FRAME_COST - 10))
    assert room.laptop.allowance.take(trio.current_time(), 5000.0)  # what it sent through the WebSocket
    for _ in range(10):
        room.relay.handle_untrusted(0, Segments(datagram, LAPTOP, own=OWN))
    assert len(room.take()) == 5
    assert room.relay.statistics.dropped_over_rate == 5


async def test_a_node_that_registers_again_sends_from_its_new_allowance(room: Room) -> None:
    """Or two links would have twice the rate, and a link that ended would have one still."""
    laptop, _ = await room.bound()
    again = room._join("laptop")
    room.bind(laptop, 1, LAPTOP)
    room.take()
    room.relay.handle_untrusted(0, Segments(encode_passed(laptop.circuit, b"x" * 90), LAPTOP, own=OWN))
    assert not again.allowance.take(trio.current_time(), RATE)


async def test_what_the_kernel_does_not_take_is_counted(room: Room) -> None:
    laptop, _ = await room.bound()
    room.sockets[0].room = 0
    room.relay.handle_untrusted(0, Segments(encode_passed(laptop.circuit, b"x"), LAPTOP, own=OWN))
    assert room.relay.statistics.dropped_unsent == 1
    assert room.relay.statistics.datagrams == 0


@pytest.mark.parametrize(("free", "carried"), [(3, 90 + 90 + 7), (2, 90 + 90), (0, 0)])
async def test_of_a_read_that_goes_on_in_part_the_bytes_that_went_are_counted(
    room: Room, free: int, carried: int
) -> None:
    laptop, _ = await room.bound()
    datagrams = [encode_passed(laptop.circuit, b"x" * size) for size in (90, 90, 7)]
    room.sockets[0].room = len(room.sockets[0].sent) + free
    room.relay.handle_untrusted(0, Segments(b"".join(datagrams), LAPTOP, len(datagrams[0]), OWN))
    statistics = room.relay.statistics
    assert (statistics.datagrams, statistics.dropped_unsent, statistics.bytes) == (free, 3 - free, carried)


@pytest.mark.parametrize(
    "junk", [b"\x14", b"\x14" + bytes(9), b"\x14\x07" + bytes(40), b"\x14\x02" + bytes(41), b"\x14\x03" + bytes(41)]
)
async def test_junk_costs_a_count(room: Room, junk: bytes) -> None:
    await room.bound()
    room.relay.handle_untrusted(0, Segments(junk, LAPTOP, own=OWN))
    assert room.take() == []
    assert room.relay.statistics.dropped_malformed == 1
