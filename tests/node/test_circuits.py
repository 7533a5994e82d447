"""The node's circuits: asked for once, bound until both sides are, kept while somebody wants them, else given up."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tunnel.crypto.circuit_seal import open_binding, seal_binding
from tunnel.dataplane.circuit_table import CircuitTable
from tunnel.dataplane.flow_index import FlowIndex
from tunnel.dataplane.inbound import Inbound
from tunnel.dataplane.mux import Mux
from tunnel.model.endpoint import Endpoint
from tunnel.model.identity import NodeId
from tunnel.model.nat import Udp
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.model.way import Way
from tunnel.network.datagrams import Segments
from tunnel.node.circuits import BINDS_AT_ONCE, Circuits
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.wire.circuits import Binding, Word, encode_passed
from tunnel.wire.frames import HEADER, Header, Kind
from tunnel.wire.signals import Allocate, Circuit, NoCircuit, Signal

TILL = NodeId(b"till".ljust(16, b"."))
STRANGER = NodeId(b"stranger".ljust(16, b"."))
SERVER = Endpoint("25.0.0.1", 3478)
SECOND = Endpoint("25.0.0.1", 3479)
SERVER6 = Endpoint("2001:db8::1", 3478)
KEY = b"k" * 32
TOLD = Circuit(TILL.raw, 77, KEY)
WAY = Way(0, SERVER, 77)
INNER = HEADER.pack(Kind.PROBE, 0, 0, 7, 0) + b"inner"
"""A datagram between nodes."""


@dataclass
class Desk:
    """Circuits, and everything around them written down."""

    sockets: list[tuple[int, bool]] = field(default_factory=lambda: [(0, False), (1, True)])
    udp: Udp = Udp.UNKNOWN
    has_link: bool = True
    sent: list[tuple[float, Way, Binding]] = field(default_factory=list)
    signals: list[tuple[float, Signal]] = field(default_factory=list)
    delivered: list[tuple[bytes, Way]] = field(default_factory=list)
    changes: list[tuple[NodeId, Way | None]] = field(default_factory=list)
    """What was told of circuits."""
    circuits: Circuits = field(init=False)
    inbound: Inbound = field(init=False)

    def __post_init__(self) -> None:
        index = FlowIndex(MemoryEntropy(random.Random(1)))
        index.claim(Kind.PROBE, 7, self)
        table = CircuitTable()
        self.circuits = Circuits(DEFAULT_TIMINGS, self, table, self, self, self)
        self.inbound = Inbound(index, Mux(lambda _, __: None), table, key_life=1.0, stun=(), relay=self.circuits)
        self.circuits.note_registered((SERVER, SECOND, SERVER6))

    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> None:
        self.delivered.append((datagram, way))

    def fail(self, error: Exception) -> None:
        raise error

    def families(self) -> list[tuple[int, bool]]:
        return self.sockets

    def send(self, way: Way, datagram: bytes) -> bool:
        self.sent.append((trio.current_time(), way, open_binding(KEY, datagram)))
        return True

    def send_signal(self, signal: Signal) -> bool:
        if self.has_link:
            self.signals.append((trio.current_time(), signal))
        return self.has_link

    def note_circuit(self, node: NodeId, way: Way | None) -> None:
        self.changes.append((node, way))

    def bound(self, *, is_whole: bool, counter: int | None = None, key: bytes = KEY, remote: Endpoint = SERVER) -> None:
        """The server answers the latest bind."""
        latest = self.sent[-1][2].counter if counter is None else counter
        self.circuits.handle_untrusted(seal_binding(key, Binding(Word.BOUND, 77, latest, is_whole)), remote)

    def prove(self, cookie: bytes, *, counter: int | None = None, remote: Endpoint = SERVER) -> None:
        """The server wants this repeated from where it saw the latest bind come from."""
        latest = self.sent[-1][2].counter if counter is None else counter
        self.circuits.handle_untrusted(seal_binding(KEY, Binding(Word.PROVE, 77, latest, cookie=cookie)), remote)

    async def told(self) -> None:
        """The peer wants a circuit, and the server has one."""
        self.circuits.want(TILL)
        await trio.sleep(0.01)
        self.circuits.hear_untrusted(TOLD)
        await trio.sleep(0.01)


@pytest.fixture
async def desk(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Desk]:
    async with trio.open_nursery() as nursery:
        desk = Desk()
        nursery.start_soon(desk.circuits.run)
        yield desk
        nursery.cancel_scope.cancel()


async def test_a_circuit_is_asked_for_once_bound_and_told_of_when_it_is_whole(desk: Desk) -> None:
    await desk.told()
    assert [signal for _, signal in desk.signals] == [Allocate(TILL.raw)]
    assert [(way, binding) for _, way, binding in desk.sent] == [(Way(0, SERVER), Binding(Word.BIND, 77, 1))]
    desk.bound(is_whole=False)
    desk.bound(is_whole=True)
    assert desk.changes == [(TILL, None), (TILL, WAY)]


async def test_a_bind_that_nobody_answers_is_sent_again_to_all_places_and_then_given_up(desk: Desk) -> None:
    await desk.told()
    desk.has_link = False
    await trio.sleep(sum(DEFAULT_TIMINGS.circuit_binds) + 0.1)
    began = desk.sent[0][0]
    assert [round(at - began, 2) for at, _, _ in desk.sent] == [0.0, 0.25, 0.75, 1.75]
    assert [way.remote for _, way, _ in desk.sent] == [SERVER, SERVER, SECOND, SERVER6]
    assert [binding.counter for _, _, binding in desk.sent] == [1, 2, 3, 4]
    assert desk.changes == [(TILL, None)]
    assert len(desk.circuits) == 0


async def test_a_circuit_in_use_is_bound_every_fifteen_seconds(desk: Desk) -> None:
    await desk.told()
    for _ in range(6):
        desk.bound(is_whole=True)
        desk.circuits.want(TILL)
        await trio.sleep(DEFAULT_TIMINGS.circuit_keepalive + 0.01)
    assert [round(at - desk.sent[0][0]) for at, _, _ in desk.sent] == [0, 15, 30, 45, 60, 75, 90]


async def test_a_circuit_that_nobody_wants_any_more_is_let_go(desk: Desk) -> None:
    await desk.told()
    desk.bound(is_whole=True)
    for _ in range(3):
        await trio.sleep(15.0)
        desk.bound(is_whole=True)
    assert desk.changes[-1][1] == WAY
    await trio.sleep(DEFAULT_TIMINGS.circuit_idle)
    assert desk.changes[-1][1] is None
    sent = len(desk.sent)
    await trio.sleep(300.0)
    assert len(desk.sent) == sent
    assert len(desk.circuits) == 0


async def test_a_doubted_circuit_is_bound_at_once_but_not_twice_at_a_time(desk: Desk) -> None:
    """A NAT has moved us: the bind moves our side. Until it is answered another one helps nobody."""
    await desk.told()
    desk.bound(is_whole=True)
    await trio.sleep(3.0)
    for _ in range(5):
        desk.circuits.doubt(TILL)
        await trio.sleep(0.01)
    assert len(desk.sent) == 2


async def test_the_same_circuit_told_again_changes_nothing(desk: Desk) -> None:
    await desk.told()
    desk.bound(is_whole=True)
    desk.circuits.hear_untrusted(TOLD)
    await trio.sleep(0.1)
    assert desk.changes[-1] == (TILL, WAY)
    assert len(desk.sent) == 1


async def test_a_newer_circuit_takes_the_place_of_the_old_one(desk: Desk) -> None:
    await desk.told()
    desk.bound(is_whole=True)
    desk.circuits.hear_untrusted(Circuit(TILL.raw, 78, KEY))
    await trio.sleep(0.01)
    assert desk.changes[-1] == (TILL, None)
    assert desk.sent[-1][2] == Binding(Word.BIND, 78, 1)
    assert len(desk.circuits) == 1


async def test_what_the_server_wants_proved_is_proved_at_once_and_said_again_from_then_on(desk: Desk) -> None:
    await desk.told()
    desk.prove(b"cookie 1")
    assert [binding for _, _, binding in desk.sent[1:]] == [Binding(Word.BIND, 77, 2, cookie=b"cookie 1")]
    assert desk.sent[1][0] == trio.current_time()
    await trio.sleep(0.2)
    desk.bound(is_whole=True)
    assert desk.changes == [(TILL, WAY)]
    await trio.sleep(DEFAULT_TIMINGS.circuit_keepalive - 0.1)
    assert len(desk.sent) == 2
    await trio.sleep(0.2)
    assert len(desk.sent) == 3


async def test_the_cookie_of_the_latest_answer_is_repeated(desk: Desk) -> None:
    await desk.told()
    bound = Binding(Word.BOUND, 77, 1, is_whole=True, cookie=b"cookie 2")
    desk.circuits.handle_untrusted(seal_binding(KEY, bound), SERVER)
    await trio.sleep(DEFAULT_TIMINGS.circuit_keepalive + 0.1)
    assert desk.sent[-1][2].cookie == b"cookie 2"


async def test_a_late_prove_is_answered_too(desk: Desk) -> None:
    """Where a round trip takes longer than the first wait, the answer to each bind would come after the next one."""
    await desk.told()
    await trio.sleep(0.3)
    assert len(desk.sent) == 2
    desk.prove(b"cookie 1", counter=1)
    assert desk.sent[-1][2] == Binding(Word.BIND, 77, 3, cookie=b"cookie 1")
    desk.prove(b"cookie 1", counter=2)
    assert len(desk.sent) == 3


async def test_one_bind_that_is_due_makes_us_prove_once(desk: Desk) -> None:
    """A server that is never content makes us send two datagrams where one was due."""
    await desk.told()
    for number in range(1, 50):
        desk.prove(number.to_bytes(8, "big"))
    assert len(desk.sent) == 2


@pytest.mark.parametrize(
    ("counter", "remote"), [(0, SERVER), (2, SERVER), (1, SECOND), (1, Endpoint("66.6.6.6", 3478))]
)
async def test_a_prove_that_is_no_answer_to_our_bind_is_not_answered(
    desk: Desk, counter: int, remote: Endpoint
) -> None:
    await desk.told()
    desk.prove(b"cookie 1", counter=counter, remote=remote)
    assert len(desk.sent) == 1


async def test_a_circuit_that_nobody_wished_is_not_bound(desk: Desk) -> None:
    """A server may tell what it likes: it makes us keep and send nothing."""
    desk.circuits.hear_untrusted(Circuit(STRANGER.raw, 79, KEY))
    desk.circuits.hear_untrusted(TOLD)
    await trio.sleep(1.0)
    assert desk.sent == []
    assert len(desk.circuits) == 0


async def test_new_circuits_make_no_more_binds(desk: Desk) -> None:
    """A server that names a victim as its relay, and a new circuit again and again, gets what is due for one peer."""
    desk.circuits.want(TILL)
    for number in range(4000):
        desk.circuits.hear_untrusted(Circuit(TILL.raw, 1000 + number, KEY))
        await trio.sleep(0.01)
    more = 40.0 / DEFAULT_TIMINGS.circuit_bind_gap
    assert BINDS_AT_ONCE <= len(desk.sent) <= BINDS_AT_ONCE + more


async def test_a_server_that_answers_all_binds_gets_no_more_of_them(desk: Desk) -> None:
    """Nor by having each of them proved."""
    await desk.told()
    for number in range(2000):
        desk.circuits.want(TILL)
        desk.prove(number.to_bytes(8, "big"))
        desk.bound(is_whole=bool(number % 2))
        desk.circuits.doubt(TILL)
        await trio.sleep(0.05)
    more = 100.0 / DEFAULT_TIMINGS.circuit_bind_gap
    assert len(desk.sent) <= 2 * (BINDS_AT_ONCE + more)


async def test_requests_without_an_answer_become_rare(desk: Desk) -> None:
    for _ in range(700):
        desk.circuits.want(TILL)
        await trio.sleep(1.0)
    times = [at for at, _ in desk.signals]
    assert [round(later - earlier) for earlier, later in pairwise(times)] == [5, 10, 30, 60, 300]


async def test_after_a_refusal_the_next_request_waits_a_minute(desk: Desk) -> None:
    desk.circuits.want(TILL)
    await trio.sleep(0.1)
    desk.circuits.hear_untrusted(NoCircuit(TILL.raw, "full"))
    for _ in range(90):
        desk.circuits.want(TILL)
        await trio.sleep(1.0)
    assert [round(at) for at, _ in desk.signals] == [0, 60]


async def test_without_a_udp_relay_at_the_server_nothing_is_asked(desk: Desk) -> None:
    desk.circuits.note_registered(())
    desk.circuits.want(TILL)
    await trio.sleep(10.0)
    assert desk.signals == []


async def test_where_no_udp_passes_nothing_is_asked_or_bound_until_it_does(desk: Desk) -> None:
    """There is no socket, or what is sent from it is lost."""
    desk.sockets = []
    await desk.told()
    await trio.sleep(10.0)
    desk.sockets, desk.udp = [(0, False)], Udp.BLOCKED
    await desk.told()
    await trio.sleep(10.0)
    assert desk.sent == []
    assert desk.signals == []
    desk.udp = Udp.OPEN
    desk.circuits.want(TILL)
    await trio.sleep(0.01)
    assert [signal for _, signal in desk.signals] == [Allocate(TILL.raw)]


async def test_a_new_registration_binds_what_there_is_anew(desk: Desk) -> None:
    """The server may have been started again, and know none of it."""
    await desk.told()
    desk.bound(is_whole=True)
    await trio.sleep(1.0)
    desk.circuits.note_registered((SERVER, SECOND))
    await trio.sleep(0.01)
    assert len(desk.sent) == 2
    await trio.sleep(sum(DEFAULT_TIMINGS.circuit_binds))
    assert desk.changes[-1] == (TILL, None)
    assert [signal for _, signal in desk.signals] == [Allocate(TILL.raw)] * 2


async def test_what_comes_over_a_circuit_is_delivered_under_its_way(desk: Desk) -> None:
    await desk.told()
    desk.inbound.receive(0, [Segments(encode_passed(77, INNER), SECOND)], 0.0)
    assert desk.delivered == [(INNER, WAY)]


async def test_what_is_not_from_the_server_or_of_no_circuit_is_refused(desk: Desk) -> None:
    await desk.told()
    for datagram, remote in (
        (encode_passed(77, INNER), Endpoint("66.6.6.6", 3478)),
        (encode_passed(78, INNER), SERVER),
        (seal_binding(KEY, Binding(Word.BIND, 77, 1)), SERVER),
    ):
        desk.inbound.receive(0, [Segments(datagram, remote)], 0.0)
    assert desk.delivered == []
    assert desk.circuits.refused == 3


async def test_a_bound_that_is_forged_old_or_late_says_nothing(desk: Desk) -> None:
    await desk.told()
    desk.bound(is_whole=True, key=b"?" * 32)
    desk.bound(is_whole=True, counter=0)
    assert desk.changes == []
    desk.bound(is_whole=True)
    desk.bound(is_whole=False)  # said before the peer came, and overtaken
    assert desk.changes == [(TILL, WAY)]


@given(st.binary(max_size=64) | st.binary(max_size=40).map(lambda rest: b"\x14" + rest))
def test_junk_costs_a_count(junk: bytes) -> None:
    async def judge() -> None:
        desk = Desk()
        desk.circuits.want(TILL)
        desk.circuits.hear_untrusted(TOLD)
        desk.circuits.handle_untrusted(junk, SERVER)
        assert desk.circuits.refused == 1
        assert desk.delivered == []

    trio.run(judge)
