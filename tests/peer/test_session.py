"""The session of two peers: all that they say is sealed, under keys of their own that are new in time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tunnel.crypto.handshake import Responder
from tunnel.crypto.node_keys import NodeKeys
from tunnel.crypto.noise import SessionKeys
from tunnel.model.reasons import ReasonCode
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.model.way import RELAY
from tunnel.peer import session as session_module
from tunnel.peer.handshake_limit import PEER_BURST, PEER_RATE
from tunnel.wire.frames import SEALED_OVERHEAD, Kind, decode_header

if TYPE_CHECKING:
    from tests.peer.conftest import Bench, Side

MARK = b"what nobody else may read"


async def echo(side: Side) -> float:
    with trio.fail_after(5.0):
        return await side.peer.echo()


def udp(port: int, payload: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram, its checksums left out."""
    ports = (40000).to_bytes(2, "big") + port.to_bytes(2, "big")
    return b"\x45" + bytes(8) + b"\x11" + bytes(10) + ports + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload


def tcp(port: int, payload: bytes) -> bytes:
    """An IPv4 packet with a TCP segment, its checksums left out."""
    ports = (40000).to_bytes(2, "big") + port.to_bytes(2, "big")
    return b"\x45" + bytes(8) + b"\x06" + bytes(10) + ports + bytes(8) + b"\x50\x18" + bytes(6) + payload


LOOKALIKES = {
    "a TLS record": tcp(443, b"\x17\x03\x03\x01\x00" + MARK),
    "a QUIC packet": udp(443, b"\xc3\x00\x00\x00\x01\x08" + bytes(range(32)) + MARK),
    "a DNS answer": udp(53, b"\x12\x34\x81\x80\x00\x01\x00\x01" + MARK),
    "a remote desktop": tcp(3389, b"\x03\x00\x00\x13\x0e\xd0" + MARK),
    "another tunnel's port": udp(8388, bytes(range(256)) + MARK),
    "plain text": tcp(80, b"GET / HTTP/1.1\r\n" + MARK),
    "one of our own headers": b"\x10" + bytes(15) + MARK,
}


@pytest.mark.parametrize("looks_like", LOOKALIKES)
async def test_no_packet_leaves_in_the_clear_whatever_it_looks_like(bench: Bench, looks_like: str) -> None:
    """Over the relay and over the direct path: there is one way out, and it seals."""
    packet = LOOKALIKES[looks_like]
    bench.meet()
    bench.left.peer.send_packet(packet)
    await bench.wait_state(bench.left, "connected")
    await trio.sleep(5.0)
    bench.left.peer.send_packet(packet)
    await trio.sleep(1.0)
    assert bench.right.received == [packet, packet]
    assert not [datagram for _, _, datagram in bench.tape if MARK in datagram]
    data = [(way, datagram) for side, way, datagram in bench.tape if datagram[0] == Kind.DATA and side is bench.left]
    assert {way == RELAY for way, _ in data} == {True, False}
    assert {len(datagram) for _, datagram in data} == {len(packet) + SEALED_OVERHEAD}


async def test_a_pair_in_use_has_new_keys_each_two_minutes_and_loses_nothing_by_it(bench: Bench) -> None:
    await bench.connect()
    sent = 0
    indices: dict[int, float] = {}
    for _ in range(3000):
        bench.left.peer.send_packet(b"\x81%d" % sent)
        sent += 1
        header = decode_header(bench.tape[-1][2])
        indices.setdefault(header.receiver_index, trio.current_time())
        await trio.sleep(0.2)
    await trio.sleep(1.0)
    assert bench.right.received == [b"\x81%d" % number for number in range(sent)]
    agreed = sorted(indices.values())
    assert len(agreed) == 5
    for earlier, later in pairwise(agreed):
        assert later - earlier == pytest.approx(DEFAULT_TIMINGS.rekey_after, abs=2.0)


async def test_new_keys_that_come_as_the_old_ones_end_are_not_thrown_away_with_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the old keys and the agreement on new ones may fall on one moment, and then the agreement counts."""
    await bench.connect()
    session = bench.left.peer.session
    monkeypatch.setattr(session, "_open_handshake", lambda: None)
    old = session.slots.current
    assert old is not None
    old.born -= 60.0  # so that only the activity under test finds them at their end
    fresh = session.slots.make(SessionKeys(bytes(32), bytes(31) + b"\x01", bytes(32)), 77, 78, trio.current_time())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session._rekey)
        await trio.sleep_until(old.born + DEFAULT_TIMINGS.key_life - 0.001)
        session.slots.install(fresh)
        await trio.sleep(1.0)
        assert session.slots.current is fresh
        nursery.cancel_scope.cancel()


async def test_old_keys_open_nothing_once_their_time_is_over(bench: Bench) -> None:
    """A recording stays sealed even if a node is taken over later."""
    await bench.connect()
    await echo(bench.left)
    held: list[bytes] = []

    def hold(side: Side, _: object, datagram: bytes) -> bool:
        if side is bench.left and datagram[0] == Kind.DATA and not held:
            held.append(datagram)
            return True
        return False

    bench.drop = hold
    bench.left.peer.send_packet(b"\x81late")
    assert len(held) == 1
    await trio.sleep(DEFAULT_TIMINGS.key_life + 1.0)
    rejected = bench.right.rejected
    bench.right.receive(held[0], RELAY)
    assert bench.right.rejected == rejected + 1
    assert bench.right.received == []


@pytest.mark.parametrize("minutes", [1, 10, 60, 24 * 60])
async def test_a_peer_that_was_away_for_however_long_agrees_on_keys_again(bench: Bench, minutes: int) -> None:
    """No key is handed out once and missed for ever: every pair agrees on its own, whenever both are there."""
    await bench.connect()
    await echo(bench.left)
    bench.direct = bench.relay = False
    await trio.sleep(60.0 * minutes)
    bench.direct = bench.relay = True
    bench.left.peer.send_packet(b"\x81still there?")
    await trio.sleep(15.0)
    assert bench.right.received == [b"\x81still there?"]


async def test_a_member_without_the_node_s_key_gets_no_session_in_its_name(bench: Bench) -> None:
    """All members have the network's psk; that alone does not let one pose as another."""
    await trio.sleep(1.0)
    bench.right.keys = _ImpostorKeys(bench.right.keys)
    bench.right.peer.close()
    await bench.wait_state(bench.right, "closed")
    bench.open(bench.right)
    bench.meet()
    bench.left.peer.want()
    bench.right.peer.want()
    await trio.sleep(30.0)
    assert not bench.left.peer.session.is_established
    assert bench.left.peer.paths.chosen is None
    bench.left.peer.send_packet(b"\x81for the true one")
    await trio.sleep(5.0)
    assert bench.right.received == []


async def test_an_older_announcement_told_again_costs_the_session_until_the_true_one_is_told(bench: Bench) -> None:
    """What a hostile server can do: interrupt. It cannot read, and the session comes back with the truth."""
    await bench.connect()
    card = bench.right.own_card
    assert card is not None
    bench.left.peer.meet(replace(card, epoch=bytes(16), seq=1))
    await trio.sleep(10.0)
    assert not bench.left.peer.can_carry
    bench.left.peer.meet(card)
    assert await echo(bench.left) > 0
    await bench.wait_state(bench.left, "connected", 30.0)


@pytest.mark.parametrize("name", ["left", "right"])
@pytest.mark.parametrize("is_one_way", [True, False])
async def test_a_session_that_the_peer_dropped_is_made_anew_though_probes_are_answered(
    bench: Bench, name: str, is_one_way: bool
) -> None:
    """A copy of our machine's came and went: the peer heard of its start, then of ours again, and holds no keys.

    Probes have keys of their own, so the path is proved all the while.
    """
    await bench.connect()
    side = bench.left if name == "left" else bench.right
    other, card = bench.other(side), side.own_card
    assert card is not None
    other.peer.meet(replace(card, epoch=bytes(16), seq=1))
    other.peer.meet(card)
    assert not other.peer.can_carry
    for _ in range(80):
        if is_one_way:
            side.peer.send_packet(MARK)
        else:
            with trio.move_on_after(0.05):
                await side.peer.echo()
        await trio.sleep(0.1)
    assert other.peer.can_carry
    assert await echo(side) > 0


async def test_a_path_without_a_session_is_not_said_to_carry(bench: Bench) -> None:
    """It answers probes, and nothing that is sent on it arrives."""
    await bench.connect()
    card = bench.left.own_card
    assert card is not None
    bench.right.peer.meet(replace(card, epoch=bytes(16), seq=1))
    bench.right.peer.meet(card)
    bench.drop = lambda side, way, datagram: decode_header(datagram).kind is Kind.HANDSHAKE
    for _ in range(80):
        bench.left.peer.send_packet(MARK)
        await trio.sleep(0.1)
    assert bench.left.peer.state == "connected"
    reason = bench.left.peer.status().reason
    assert reason is not None
    assert reason.code is ReasonCode.NO_SESSION
    bench.drop = lambda side, way, datagram: False
    await trio.sleep(DEFAULT_TIMINGS.handshake_slow_retry)
    assert await echo(bench.left) > 0
    assert bench.left.peer.status().reason is None


async def test_a_flow_that_goes_one_way_keeps_its_keys(bench: Bench) -> None:
    """The receiving side sends nothing by itself; when asked it answers."""
    await bench.connect()
    before = bench.left.peer.session.slots.current
    for _ in range(300):
        bench.left.peer.send_packet(MARK)
        await trio.sleep(0.1)
    assert bench.left.peer.session.slots.current is before


async def test_a_session_is_asked_after_no_more_once_nobody_sends(bench: Bench) -> None:
    """A peer that was killed leaves data unanswered for ever."""
    await bench.connect()
    bench.direct = bench.relay = False
    bench.left.peer.send_packet(MARK)
    await trio.sleep(60.0)
    before = bench.left.sent.copy()
    await trio.sleep(60.0)
    assert Kind.CONTROL not in [kind for _, _, kind, _ in bench.left.sent[len(before) :]]
    bench.direct = bench.relay = True
    assert await echo(bench.left) > 0


class _ImpostorKeys(NodeKeys):
    """Another node's id and public key, with a private key that is not its."""

    def __init__(self, victim: NodeKeys) -> None:
        super().__init__(b"\x66" * 32)
        self.public, self.id = victim.public, victim.id


# How two agree: who begins, what a loss costs, and what no peer can make them do.


def initiator_and_responder(bench: Bench) -> tuple[Side, Side]:
    sides = (bench.left, bench.right)
    return sides if bench.left.peer.session.is_initiator else (sides[1], sides[0])


def handshakes(bench: Bench, side: Side) -> list[bytes]:
    """Handshake datagrams that this side has sent, in order."""
    return [datagram for sender, _, datagram in bench.tape if sender is side and datagram[0] == Kind.HANDSHAKE]


def relay_only(bench: Bench) -> None:
    """One way between the two: what is counted then is counted once."""
    bench.left.card(relay_only=True)
    bench.meet()


async def test_the_one_who_may_not_begin_asks(bench: Bench) -> None:
    relay_only(bench)
    initiator, responder = initiator_and_responder(bench)
    responder.peer.send_packet(b"\x81hello")
    await trio.sleep(0.3)
    assert initiator.received == [b"\x81hello"]
    assert [len(handshakes(bench, side)) for side in (initiator, responder)] == [2, 3], "an answer takes two datagrams"


async def test_both_at_once_agree_on_one_session(bench: Bench) -> None:
    relay_only(bench)
    for side in (bench.left, bench.right):
        side.peer.send_packet(b"\x81hello")
    await trio.sleep(0.5)
    assert bench.left.received == bench.right.received == [b"\x81hello"]
    initiator, responder = initiator_and_responder(bench)
    assert initiator.peer.session.handshakes == 1
    assert responder.peer.session.handshakes == 2


@pytest.mark.parametrize("loser", ["initiator", "responder"])
async def test_a_handshake_that_is_lost_three_times_is_tried_again_soon(bench: Bench, loser: str) -> None:
    """0.3, 0.6 and 1.2 seconds later: the fourth gets through 2.1 seconds after the first."""
    relay_only(bench)
    initiator, responder = initiator_and_responder(bench)
    lossy = initiator if loser == "initiator" else responder
    began = trio.current_time()
    bench.drop = lambda side, way, datagram: (
        side is lossy and datagram[0] == Kind.HANDSHAKE and trio.current_time() - began < 2.0
    )
    initiator.peer.send_packet(b"\x81hello")
    await trio.sleep(2.05)
    assert responder.received == []
    await trio.sleep(0.3)
    assert responder.received == [b"\x81hello"]


async def test_a_way_that_comes_back_is_not_kept_waiting_for_the_next_try(bench: Bench) -> None:
    relay_only(bench)
    initiator, responder = initiator_and_responder(bench)
    initiator.is_registered = False
    initiator.peer.note_change()
    initiator.peer.want()
    await trio.sleep(60.0)
    initiator.is_registered = True
    initiator.peer.send_packet(b"\x81hello")
    initiator.peer.note_change()
    await trio.sleep(0.3)
    assert responder.received == [b"\x81hello"]


async def test_new_keys_are_used_by_the_responder_only_once_a_packet_came_under_them(bench: Bench) -> None:
    """Message 1 can be recorded: it alone must not move a session, and its answer costs no more than an answer."""
    relay_only(bench)
    initiator, responder = initiator_and_responder(bench)
    initiator.peer.want()
    await trio.sleep(0.5)
    session = responder.peer.session
    before = session.slots.current
    assert before is not None
    bench.drop = lambda side, way, datagram: side is initiator and datagram[0] != Kind.HANDSHAKE
    initiator.peer.session.runner.post("rekey_due")
    await trio.sleep(0.5)
    assert session.slots.next is not None
    assert session.slots.current is before
    bench.drop = lambda side, way, datagram: False
    await echo(initiator)
    assert session.slots.next is None
    assert session.slots.current is not before
    assert session.slots.previous is before


async def test_a_lost_first_packet_under_new_keys_loses_nothing_else(bench: Bench) -> None:
    """The initiator has the new keys, the responder does not know yet: what it still seals under the old is opened."""
    relay_only(bench)
    initiator, responder = initiator_and_responder(bench)
    await echo(initiator)
    bench.drop = lambda side, way, datagram: side is initiator and datagram[0] == Kind.CONTROL
    initiator.peer.session.runner.post("rekey_due")
    await trio.sleep(0.5)
    initiator.received.clear()
    for number in range(10):
        responder.peer.send_packet(b"\x81%d" % number)
        await trio.sleep(0.3)
    assert initiator.received == [b"\x81%d" % number for number in range(10)]


async def test_a_recorded_handshake_moves_no_session(bench: Bench) -> None:
    """Once more and out of any order, minutes later: the attempts have counted on, and so have the epochs."""
    relay_only(bench)
    initiator, responder = initiator_and_responder(bench)
    responder.peer.want()
    await trio.sleep(5.0)
    recorded = {side.name: handshakes(bench, side) for side in (initiator, responder)}
    slots = [(side.peer.session.slots.current, side.peer.session.slots.next) for side in (initiator, responder)]
    sent = len(bench.tape)
    for side in (initiator, responder):
        for datagram in [*recorded[side.name], *reversed(recorded[side.name])]:
            bench.other(side).receive(datagram, RELAY)
    assert len(bench.tape) == sent
    assert [(side.peer.session.slots.current, side.peer.session.slots.next) for side in (initiator, responder)] == slots
    assert await echo(initiator) > 0


async def test_a_handshake_of_an_epoch_that_is_over_reaches_nobody(bench: Bench) -> None:
    """Its keys and its index went with the epoch: not even a fragment of it is kept."""
    relay_only(bench)
    initiator, responder = initiator_and_responder(bench)
    initiator.peer.want()
    await trio.sleep(1.0)
    recorded = handshakes(bench, initiator)
    initiator.peer.close()
    await bench.wait_state(initiator, "closed")
    initiator.restart()
    initiator.card(relay_only=True)
    bench.open(initiator)
    bench.meet()
    await trio.sleep(3.0)
    session, sent = responder.peer.session, len(bench.tape)
    for datagram in recorded:
        header = decode_header(datagram)
        assert responder.indices.owners(header.kind, header.receiver_index) == ()
        responder.receive(datagram, RELAY)
    assert (len(bench.tape), session.slots.next, session.slots.current) == (sent, None, None)
    assert await echo(initiator) > 0


async def test_a_recorded_fragment_holds_no_later_handshake_up(bench: Bench) -> None:
    """A stranger plays it again and again while keys are renewed, in the same epochs and after a new start."""
    relay_only(bench)
    initiator, responder = initiator_and_responder(bench)
    initiator.peer.want()
    await trio.sleep(1.0)
    recorded = handshakes(bench, initiator)

    async def play() -> None:
        while True:
            responder.receive(recorded[0], RELAY)
            initiator.peer.want()
            await trio.sleep(0.3)

    bench.nursery.start_soon(play)
    for _ in range(20):
        await trio.sleep(30.0)
        with trio.fail_after(1.0):
            await echo(initiator)
    initiator.peer.close()
    await bench.wait_state(initiator, "closed")
    initiator.restart()
    initiator.card(relay_only=True)
    bench.open(initiator)
    bench.meet()
    for _ in range(10):
        await trio.sleep(30.0)
        with trio.fail_after(1.0):
            await echo(initiator)


async def test_a_forged_handshake_leaves_no_trace(bench: Bench) -> None:
    """Without the network's secret no datagram passes the check that comes before anything is kept."""
    relay_only(bench)
    initiator, responder = initiator_and_responder(bench)
    initiator.peer.want()
    await trio.sleep(1.0)
    indices, sent = len(responder.indices), len(bench.tape)
    for datagram in handshakes(bench, initiator):
        for place in range(0, len(datagram), 37):
            turned = bytearray(datagram)
            turned[place] ^= 1
            responder.receive(bytes(turned), RELAY)
    assert (len(responder.indices), len(bench.tape)) == (indices, sent)
    assert repr(responder.peer.session._reassembly) == "Reassembly(0 of 0 datagrams)"
    assert await echo(initiator) > 0


async def test_no_index_is_left_behind_however_often_keys_are_renewed(bench: Bench) -> None:
    relay_only(bench)
    initiator, _ = initiator_and_responder(bench)
    await echo(initiator)
    counts = []
    for _ in range(20):
        initiator.peer.session.runner.post("rekey_due")
        await trio.sleep(1.0)
        await echo(initiator)
        counts.append([len(side.indices) for side in (bench.left, bench.right)])
    assert counts[2] == counts[-1]
    for side in (bench.left, bench.right):
        side.peer.close()
        await bench.wait_state(side, "closed")
        await trio.sleep(0.1)
        assert len(side.indices) == 0


async def test_an_agreement_whose_keys_are_gone_again_is_an_end_and_not_a_session(bench: Bench) -> None:
    """Keys may expire in the instant in which their successors come, and take those along: then none are left."""
    relay_only(bench)
    runner = bench.left.peer.session.runner
    await trio.testing.wait_all_tasks_blocked()
    assert runner.state == "idle"
    runner.post("agreed")
    await trio.testing.wait_all_tasks_blocked()
    assert not bench.left.peer.session.is_established
    assert runner.state == "expired"
    assert await echo(bench.left) > 0


@pytest.fixture
def looked_into(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the first message of a handshake was looked into, by either side."""
    times: list[float] = []

    class Counted(Responder):
        def read_first(self, message: bytes) -> bytes:
            times.append(trio.current_time())
            return super().read_first(message)

    monkeypatch.setattr(session_module, "Responder", Counted)
    return times


async def test_handshakes_without_end_are_not_processed(bench: Bench, looked_into: list[float]) -> None:
    """Each costs half a millisecond of curves, and a member can make thousands."""
    await bench.connect()
    looked_into.clear()
    hostile, victim = initiator_and_responder(bench)
    victim_session = victim.peer.session
    for _ in range(1000):
        hostile.peer.session._transmit_message(b"\x01" + bytes(1340))
        await trio.sleep(0.01)
    assert 1 <= len(looked_into) <= PEER_BURST + 10 * PEER_RATE + 1
    assert victim.handshake_limit.refused >= 980
    assert await echo(victim) < 0.1
    assert victim_session.is_established
    await trio.sleep(30.0)
    hostile.peer.session.runner.post("rekey_due")
    await trio.sleep(1.0)
    assert hostile.peer.session.slots.current is not None
    assert trio.current_time() - hostile.peer.session.slots.current.born < 1.1


async def test_an_error_gives_a_peer_no_new_handshakes(bench: Bench, looked_into: list[float]) -> None:
    """A peer that could cause one would have as many processed as it likes."""
    await bench.connect()
    looked_into.clear()
    hostile, victim = initiator_and_responder(bench)
    for _ in range(3):
        for _ in range(40):
            hostile.peer.session._transmit_message(b"\x01" + bytes(1340))
        await trio.sleep(0.5)
        victim.peer.fail(RuntimeError("a bug"))
        await trio.sleep(2.5)
    assert 1 <= len(looked_into) <= PEER_BURST + 10 * PEER_RATE


async def test_sixty_four_packets_wait_for_keys_and_the_oldest_is_dropped(bench: Bench) -> None:
    bench.relay = False
    bench.left.card(relay_only=True)
    bench.meet()
    for number in range(70):
        bench.left.peer.send_packet(b"\x81%d" % number)
    bench.relay = True
    await trio.sleep(1.0)
    assert bench.right.received == [b"\x81%d" % number for number in range(6, 70)]
    assert bench.left.peer.flow.waiting.dropped == 6
