"""Probes between two ends whose datagrams the test carries itself: what is asked, answered, and left unanswered."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from tests.dataplane.flows import open_flow
from tests.peer.conftest import NETWORK, Vpn

from tunnel.crypto.node_keys import NodeKeys
from tunnel.crypto.pair_keys import ProbeKeys
from tunnel.crypto.sealing import Opener
from tunnel.machines.stalls import Stalls
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import NotAuthentic
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.model.way import RELAY, Way
from tunnel.peer.context import PeerContext
from tunnel.peer.path import NEVER, Path
from tunnel.peer.path_table import HUSH_BURST, HUSH_SHARE
from tunnel.peer.peer_state import PeerState
from tunnel.peer.probe_budget import ProbeBudget
from tunnel.peer.probe_exchange import (
    LEAST_HUSH,
    MAX_HUSHES,
    MAX_PROBE_BACKS,
    Answered,
    Asked,
    ProbeExchange,
)
from tunnel.peer.transmitter import Transmitter
from tunnel.verify.memory.machine import MemoryClock, MemoryEntropy
from tunnel.wire.frames import BASE_SIZE, HEADER_BYTES, Kind, decode_header
from tunnel.wire.probes import ProbeAnswer, ProbeHint, ProbeRequest, decode_probe
from tunnel.wire.signals import Signal

if TYPE_CHECKING:
    from tests.peer.conftest import Bench

HERE, THERE = b"\x01" * 32, b"\x02" * 32
THEM = Way(0, Endpoint("25.2.0.1", 5002))
ELSEWHERE = Way(0, Endpoint("25.2.0.1", 61234))

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Budget(ProbeBudget):
    """One that has an answer left for endpoints that are not proved, or none."""

    is_generous = True

    def take_answer(self, host: str, now: float) -> bool:
        return self.is_generous


class End:
    """One end of an exchange: its node, too. What it sends waits in `sent`; only the test carries it."""

    is_registered = is_verdict_acknowledged = True
    registrations = 1
    card = None
    epoch = bytes(16)

    def __init__(self, keys: ProbeKeys, seed: int, counter: int = 0) -> None:
        self.probe_keys = keys
        self.keys = NodeKeys(bytes(31) + bytes((seed,)))
        self.sent: deque[tuple[Way, bytes]] = deque()
        self.answered: list[Path] = []
        self.sizes: list[int] = []
        self.asked: list[Way] = []
        self.hints: list[ProbeHint] = []
        self.carried = 0
        self.hushes: list[float] = []
        self.is_patient = True
        """Whether applications may be kept waiting."""
        self.budget = Budget()
        self.stalls = Stalls()
        entropy = MemoryEntropy(random.Random(seed))
        context = PeerContext(self, NETWORK, bytes(32), DEFAULT_TIMINGS, self.stalls, MemoryClock(), entropy, 1280)
        node = NodeKeys(bytes(32)).id
        peer = PeerState(node, context, open_flow()[0], announcement=self, server=self, overlays=Vpn())
        self.paths = peer.paths
        self.exchange = ProbeExchange(
            keys, peer, context, Transmitter(node, self, self), budget=self.budget, traffic=self, counter=counter
        )

    def families(self) -> Sequence[tuple[int, bool]]:
        return [(0, False)]

    def send(self, way: Way, datagram: bytes, ttl: int | None = None) -> bool:
        self.sent.append((way, datagram))
        return True

    def send_relay(self, handle: bytes, datagram: bytes) -> bool:
        return self.send(RELAY, datagram)

    def send_signal(self, signal: Signal) -> bool:
        return False

    def hush(self, seconds: float, *, is_wanted: bool) -> bool:
        self.hushes.append(seconds)
        return self.is_patient

    def hear(self, datagram: bytes, way: Way) -> None:
        match self.exchange.handle_untrusted(decode_header(datagram), datagram, way):
            case Answered(path, size):
                self.answered.append(path)
                self.sizes.append(size)
            case Asked(asked):
                self.asked.append(asked)
            case ProbeHint() as hint:
                self.hints.append(hint)
            case None:
                pass

    def take(self) -> bytes:
        return self.sent.popleft()[1]


def a_pair() -> tuple[End, End]:
    return End(ProbeKeys(HERE, THERE, 1, 2), 1), End(ProbeKeys(THERE, HERE, 2, 1), 2)


def read(sender: End, datagram: bytes) -> ProbeRequest | ProbeAnswer:
    """What a probe says to a reader with the key."""
    probe = decode_probe(Opener(sender.probe_keys.send_key).open(datagram, decode_header(datagram).counter))
    assert not isinstance(probe, ProbeHint)
    return probe


async def test_an_answer_says_which_question_and_from_where_it_came() -> None:
    us, them = a_pair()
    us.exchange.ask(THEM)
    question = us.take()
    asked = read(us, question)
    seen_at = Way(0, Endpoint("25.1.0.1", 40000))
    them.hear(question, seen_at)
    way, answer = them.sent[0]
    assert way == seen_at
    assert read(them, answer) == ProbeAnswer(asked.transaction, seen_at.remote)


async def test_a_probe_from_an_unknown_address_is_probed_back() -> None:
    """Where a peer's packets come from may be nowhere that anybody announced: that is how such a path is found."""
    us, them = a_pair()
    them.exchange.ask(THEM)
    us.hear(them.take(), ELSEWHERE)
    assert [way for way, _ in us.sent] == [ELSEWHERE, ELSEWHERE]
    _, question = us.sent
    asked = read(us, question[1])
    assert asked == ProbeRequest(asked.transaction, ELSEWHERE.remote)


async def test_a_probe_over_the_relay_is_answered_and_not_probed_back() -> None:
    """There is nothing to find out: the side that uses the relay measures it."""
    us, them = a_pair()
    them.exchange.ask(RELAY)
    us.hear(them.take(), RELAY)
    assert [way for way, _ in us.sent] == [RELAY]
    assert read(us, us.take()) == ProbeAnswer(next(iter(them.exchange._open)), None)


async def test_who_has_answered_us_is_answered_whatever_the_budget_says() -> None:
    """It is where it says: nobody else could have answered. Before that its address may be a victim's."""
    us, them = a_pair()
    us.budget.is_generous = False
    them.exchange.ask(THEM)
    us.hear(them.take(), THEM)
    assert isinstance(read(us, us.take()), ProbeRequest), "probed back, as often as that is allowed, and not answered"
    assert not us.sent
    us.exchange.ask(THEM)
    them.hear(us.take(), THEM)
    us.hear(them.take(), THEM)
    us.sent.clear()
    them.sent.clear()
    them.exchange.ask(THEM)
    us.hear(them.take(), THEM)
    assert isinstance(read(us, us.take()), ProbeAnswer)


async def test_an_answer_never_triggers_an_answer() -> None:
    """Two ends that answer answers would never fall silent."""
    us, them = a_pair()
    us.paths.expect(THEM).is_proved = them.paths.expect(THEM).is_proved = True
    us.exchange.ask(THEM)
    them.hear(us.take(), THEM)
    us.hear(them.take(), THEM)
    assert not us.sent
    assert not them.sent
    assert [path.way for path in us.answered] == [THEM]


async def test_two_ends_without_proof_probe_each_other_back_so_often_and_no_more() -> None:
    """Each probe back is a question that the other end may probe back: the bound is what ends it."""
    us, them = a_pair()
    us.exchange.ask(THEM)
    carried = 0
    while (us.sent or them.sent) and carried < 1000:
        for sender, receiver in ((us, them), (them, us)):
            while sender.sent:
                datagram = sender.take()
                carried += 1
                if isinstance(read(sender, datagram), ProbeRequest):
                    receiver.hear(datagram, THEM)
        await trio.sleep(1.0)
    assert carried <= 2 * (1 + 2 * MAX_PROBE_BACKS)


async def test_a_peer_that_was_answered_is_probed_back_once_a_second_for_as_long_as_it_asks() -> None:
    """It was proved by an answer that came late, when we had used up the round's bound and given up: then one side
    alone held the path, for as long as it lived. That it asks at full size shows that it hears us."""
    us, them = a_pair()

    async def probed_back(size: int, seconds: int) -> int:
        us.sent.clear()
        for _ in range(2 * seconds):
            await trio.sleep(0.5)
            them.exchange.ask(THEM, size=size)
            us.hear(them.take(), THEM)
        return sum(isinstance(read(us, datagram), ProbeRequest) for _, datagram in us.sent)

    assert await probed_back(0, 20) == MAX_PROBE_BACKS
    assert await probed_back(0, 20) == 0
    assert await probed_back(BASE_SIZE, 20) == 20
    us.budget.is_generous = False
    assert await probed_back(BASE_SIZE, 20) == 0, "nobody is flooded by whoever forges a source"


async def test_a_path_is_proved_by_a_full_size_answer_to_a_full_size_question() -> None:
    us, them = a_pair()
    us.exchange.ask(THEM)
    them.hear(us.take(), THEM)
    us.hear(them.take(), THEM)
    path = us.paths.at(THEM)
    assert path is not None
    assert not path.is_proved
    full = us.take()
    assert len(full) == BASE_SIZE
    them.sent.clear()
    them.hear(full, THEM)
    answer = them.take()
    assert len(answer) == BASE_SIZE
    us.hear(answer, THEM)
    assert path.is_proved


async def test_a_size_is_answered_at_its_size_and_its_loss_is_no_silence() -> None:
    """The path is judged by probes of the base size; a size that does not pass is no fault of it."""
    us, them = a_pair()
    path = us.paths.expect(THEM)
    us.exchange.ask_size(THEM, 1472)
    question = us.take()
    assert (len(question), path.asked) == (1472, NEVER)
    them.hear(question, THEM)
    answer = them.take()
    assert len(answer) == 1472
    us.hear(answer, THEM)
    assert us.sizes == [1472]
    assert path.is_proved


async def test_a_forged_probe_is_neither_answered_nor_noted() -> None:
    """A stranger cannot make a dead path look alive, nor move a peer to another address."""
    us, them = a_pair()
    them.exchange.ask(THEM)
    genuine = them.take()
    for position in range(HEADER_BYTES, len(genuine)):
        forged = genuine[:position] + bytes((genuine[position] ^ 1,)) + genuine[position + 1 :]
        with pytest.raises(NotAuthentic):
            us.hear(forged, ELSEWHERE)
    assert not us.sent
    assert not us.asked
    assert us.paths.at(ELSEWHERE) is None


async def test_a_recorded_probe_is_not_answered_twice() -> None:
    us, them = a_pair()
    them.exchange.ask(THEM)
    genuine = them.take()
    us.hear(genuine, THEM)
    us.sent.clear()
    with pytest.raises(NotAuthentic):
        us.hear(genuine, ELSEWHERE)
    assert not us.sent


async def test_an_answer_over_another_way_than_its_question_proves_nothing() -> None:
    us, them = a_pair()
    us.exchange.ask(THEM)
    them.hear(us.take(), THEM)
    us.hear(them.take(), RELAY)
    assert not us.answered


async def test_an_answer_that_is_older_than_any_round_trip_is_none() -> None:
    """A machine that stood still finds answers in its socket: the way is neither that slow, nor known to work now."""
    us, them = a_pair()
    us.exchange.ask(THEM)
    them.hear(us.take(), THEM)
    answer = them.take()
    await trio.sleep(100.0)
    us.hear(answer, THEM)
    path = us.paths.at(THEM)
    assert path is not None
    assert (path.rtt, path.answered) == (None, NEVER)
    assert us.answered == []


async def test_an_answer_that_was_read_after_a_stall_is_one_and_measures_nothing() -> None:
    """It may have lain in the socket for as long as the stall lasted."""
    us, them = a_pair()
    for took in (0.04, 2.0):
        await trio.sleep(1.0)
        us.sent.clear()
        them.sent.clear()
        us.exchange.ask(THEM)
        them.hear(us.take(), THEM)
        answer = them.take()
        await trio.sleep(took)
        if took > 1.0:
            us.stalls.note(trio.current_time() - took + 0.01, trio.current_time())
        us.hear(answer, THEM)
    path = us.paths.at(THEM)
    assert path is not None
    assert path.rtt == pytest.approx(0.04)
    assert path.answered == trio.current_time()


async def test_an_answer_to_no_question_of_ours_changes_nothing() -> None:
    us, them = a_pair()
    us.exchange.ask(THEM)
    them.hear(us.take(), THEM)
    answer = them.take()
    forgetful = End(us.probe_keys, 3)
    forgetful.hear(answer, THEM)
    assert not forgetful.answered
    assert not forgetful.paths.direct


async def test_no_two_probes_of_a_pair_are_sealed_under_one_counter_and_key(bench: Bench) -> None:
    """A server that tells an old announcement and then the true one again brings old keys back, and no old nonce."""
    await bench.connect()
    card = bench.right.own_card
    assert card is not None
    for _ in range(3):
        bench.left.peer.meet(replace(card, epoch=bytes(16)))
        bench.left.peer.meet(card)
        await trio.sleep(3.0)
    probes = [datagram for side, _, datagram in bench.tape if side is bench.left and datagram[0] == Kind.PROBE]
    assert len({datagram[:HEADER_BYTES] for datagram in probes}) == len(set(probes))
    assert len(probes) > 20


async def answered(us: End, them: End, *, carrying: int) -> Path:
    """The full-size question that is under way is answered after 50 ms, in which applications sent so many bytes."""
    them.hear(us.take(), THEM)
    await trio.sleep(0.05)
    us.carried += carrying
    us.hear(them.take(), THEM)
    them.sent.clear()
    return us.paths.expect(THEM)


async def test_an_answer_to_what_the_tunnel_may_have_carried_proves_nothing() -> None:
    """An overlay that rides in the tunnel shows at least as many bytes: it would be a way of the tunnel's to itself."""
    us, them = a_pair()
    us.is_patient = False
    us.exchange.ask(THEM, size=BASE_SIZE)
    path = await answered(us, them, carrying=BASE_SIZE)
    assert not path.is_proved
    assert path.answered == NEVER
    assert not us.sent
    us.exchange.ask(THEM, size=BASE_SIZE)
    assert (await answered(us, them, carrying=BASE_SIZE - 1)).is_proved, "less than the question cannot have been it"


async def test_where_applications_always_send_a_proof_is_asked_for_while_they_wait() -> None:
    us, them = a_pair()
    us.exchange.ask(THEM, size=BASE_SIZE)
    await answered(us, them, carrying=10**6)
    assert us.hushes == [pytest.approx(2 * 0.05 + LEAST_HUSH)]
    assert (await answered(us, them, carrying=0)).is_proved


async def test_applications_are_kept_waiting_so_often_and_no_more() -> None:
    """A way that rides in the tunnel never answers in quiet."""
    us, them = a_pair()
    us.exchange.ask(THEM, size=BASE_SIZE)
    for _ in range(MAX_HUSHES):
        await answered(us, them, carrying=BASE_SIZE)
    path = await answered(us, them, carrying=BASE_SIZE)
    assert (len(us.hushes), us.sent, path.is_proved) == (MAX_HUSHES, deque(), False)


async def test_after_a_change_of_routes_a_path_must_answer_what_the_tunnel_did_not_carry() -> None:
    """Another VPN may have come up that takes our datagrams into the tunnel: then its answers are no sign of life."""
    us, them = a_pair()
    us.exchange.ask(THEM, size=BASE_SIZE)
    path = await answered(us, them, carrying=0)
    us.exchange.ask(THEM, size=BASE_SIZE)
    await answered(us, them, carrying=BASE_SIZE)
    assert path.asked == NEVER, "proved, and nothing changed: busy applications are no suspicion"
    us.paths.doubt_proofs(trio.current_time())
    us.is_patient = False
    us.exchange.ask(THEM, size=BASE_SIZE)
    await answered(us, them, carrying=BASE_SIZE)
    assert path.asked != NEVER
    us.exchange.ask(THEM, size=BASE_SIZE)
    await answered(us, them, carrying=0)
    assert path.asked == NEVER


async def test_a_small_mtu_of_another_vpn_says_nothing_of_other_ways() -> None:
    """The user would be told to raise an MTU that limits nothing."""
    us, them = a_pair()
    for is_nested in (True, False):
        us.paths.overlays = Vpn({"10.99.0.2"} if is_nested else set())
        us.paths.forget_all()
        us.exchange.ask(Way(0, Endpoint("10.99.0.2", 5000)))
        them.hear(us.take(), THEM)
        us.hear(them.take(), Way(0, Endpoint("10.99.0.2", 5000)))
        assert us.paths.answered_small is not is_nested
        us.sent.clear()
        them.sent.clear()


async def test_a_proof_that_was_won_gives_the_next_one_its_tries_back() -> None:
    """A circuit under load is proved again and again."""
    us, them = a_pair()
    for _ in range(2 * MAX_HUSHES):
        us.exchange.ask(THEM, size=BASE_SIZE)
        await answered(us, them, carrying=BASE_SIZE)
        path = await answered(us, them, carrying=0)
        assert path.is_proved
        path.is_proved = False
        us.sent.clear()
        await trio.sleep(20.0)
    assert len(us.hushes) == 2 * MAX_HUSHES


async def test_no_peer_keeps_applications_waiting_for_much_of_the_time() -> None:
    """A member that answers late, on way after way, would otherwise stop all that we send to any peer."""
    us, them = a_pair()
    for port in range(5000, 5400):
        way = Way(0, Endpoint("25.2.0.1", port))
        us.exchange.ask(way, size=BASE_SIZE)
        question = us.take()
        them.hear(question, THEM)
        await trio.sleep(0.5)
        us.carried += BASE_SIZE
        us.hear(them.take(), way)
        us.sent.clear()
        them.sent.clear()
    assert HUSH_BURST < sum(us.hushes) <= HUSH_BURST + HUSH_SHARE * trio.current_time()
