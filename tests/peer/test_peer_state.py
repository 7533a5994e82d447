"""What is known of a peer, and what follows from it: presence, reasons, what may be sent and over which ways."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from tests.peer.conftest import CIRCUIT, EASY, peer_state_of

from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import LocalProtocolError
from tunnel.model.nat import Mapping
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.model.way import RELAY, Way
from tunnel.peer.path import Path
from tunnel.wire.signals import Introduced, Refusal

if TYPE_CHECKING:
    from tests.peer.conftest import Bench

    from tunnel.peer.peer_state import PeerState

WAY = Way(0, Endpoint("25.2.0.1", 5002))
HARD = replace(EASY, mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT)


@pytest.fixture
def peer(bench: Bench) -> PeerState:
    """The right side, announced, as the left side knows it."""
    peer = peer_state_of(bench.left)
    card = bench.right.own_card
    assert card is not None
    peer.note_card(card)
    return peer


def move(peer: PeerState, *events: str) -> None:
    for event in events:
        peer.chart.take(event, {"relay": True, "direct_allowed": True})


def introduction() -> Introduced:
    return Introduced(1, bytes(32), bytes(16), 1, b"", bytes(16), 1, 0.0)


async def test_an_announcement_makes_a_peer_present_and_ends_its_absence(bench: Bench, peer: PeerState) -> None:
    card = peer.card
    assert card is not None
    peer.note_absent(has_left=False)
    assert (peer.is_present, peer.absent_since) == (False, bench.left.clock.wall())
    assert peer.reason is not None
    assert peer.not_before > trio.current_time()
    peer.note_card(card)
    assert [peer.is_present, peer.absent_since, peer.reason] == [True, None, None]
    assert peer.not_before < trio.current_time()


async def test_an_announcement_leaves_a_reason_that_is_not_absence(peer: PeerState) -> None:
    card = peer.card
    assert card is not None
    peer.note_move("relayed", Reason(ReasonCode.PROBES_UNANSWERED))
    peer.note_card(card)
    assert peer.reason == Reason(ReasonCode.PROBES_UNANSWERED)


@pytest.mark.parametrize(("has_left", "evidence"), [(True, "it left the network"), (False, "the server has no link")])
async def test_a_peer_that_left_is_told_from_one_that_lost_its_link(
    peer: PeerState, has_left: bool, evidence: str
) -> None:
    peer.note_absent(has_left=has_left)
    assert peer.reason is not None
    assert peer.reason.code is ReasonCode.PEER_OFFLINE
    assert peer.reason.evidence.startswith(evidence)


async def test_a_peer_that_the_server_does_not_name_after_a_registration_is_offline(peer: PeerState) -> None:
    """Unless another reason is known: the silence of the server explains nothing more."""
    peer.note_registered()
    peer.note_missing()
    assert peer.reason is not None
    assert peer.reason.code is ReasonCode.PEER_OFFLINE
    known = Reason(ReasonCode.REFUSED)
    peer.note_move("announced", known)
    peer.note_missing()
    assert peer.reason == known


async def test_each_refusal_makes_the_next_request_wait_longer_until_an_introduction(peer: PeerState) -> None:
    waits = []
    for _ in range(3):
        refusal = Refusal(1, bytes(32), "peer_offline", "")
        peer.note_refused(refusal)
        assert peer.take_refusal(refusal) == Reason(ReasonCode.PEER_OFFLINE, "the server refused: peer_offline")
        assert peer.refusal is None
        waits.append(peer.not_before - trio.current_time())
    assert waits == sorted(waits)
    assert waits[0] < waits[-1]
    peer.note_introduced(introduction())
    peer.take_refusal(Refusal(1, bytes(32), "peer_offline", ""))
    assert peer.not_before - trio.current_time() == waits[0]


async def test_a_refusal_with_an_unknown_code_is_a_refusal(peer: PeerState) -> None:
    """A newer server may say more than we know."""
    reason = peer.take_refusal(Refusal(1, bytes(32), "too_warm", "it is June"))
    assert reason == Reason(ReasonCode.REFUSED, "it is June")


async def test_an_introduction_is_used_once(peer: PeerState) -> None:
    peer.note_introduced(introduction())
    assert peer.is_introduced
    taken = peer.take_introduction()
    assert taken is not None
    assert not peer.is_introduced
    assert peer.take_introduction() is None


@pytest.mark.parametrize("side", ["left", "right"])
async def test_either_side_may_forbid_direct_paths(bench: Bench, peer: PeerState, side: str) -> None:
    assert peer.is_direct_allowed
    card = (bench.left if side == "left" else bench.right).card(relay_only=True)
    if side == "right":
        peer.note_card(card)
    assert not peer.is_direct_allowed


async def test_without_direct_paths_an_introduction_is_of_use_only_over_the_relay(
    bench: Bench, peer: PeerState
) -> None:
    peer.note_introduced(introduction())
    bench.left.card(relay_only=True)
    assert peer.is_introduced
    bench.left.is_registered = False
    assert not peer.is_introduced


async def test_a_relay_is_dead_after_fifteen_seconds_without_an_answer(peer: PeerState) -> None:
    assert not peer.is_relay_dead
    peer.paths.relay.asked = trio.current_time()
    await trio.sleep(DEFAULT_TIMINGS.relay_trust - 0.1)
    assert not peer.is_relay_dead
    await trio.sleep(0.2)
    assert peer.is_relay_dead
    peer.paths.relay.heard = trio.current_time()
    assert not peer.is_relay_dead


async def test_measured_values_and_ports_of_a_hard_nat_are_no_reason_for_another_punch(
    bench: Bench, peer: PeerState
) -> None:
    peer.note_card(bench.right.card(nat=HARD))
    before = peer.punch_inputs
    moved = Candidate(bench.right.endpoint._replace(port=9999), CandidateKind.REFLEXIVE)
    peer.note_card(bench.right.card(nat=replace(HARD, load=3.0, lifetime=30.0, step=2), candidates=(moved,)))
    assert peer.punch_inputs == before
    elsewhere = Candidate(Endpoint("25.9.0.1", 9999), CandidateKind.REFLEXIVE)
    peer.note_card(bench.right.card(nat=HARD, candidates=(elsewhere,)))
    assert peer.punch_inputs != before


async def test_a_better_report_is_a_reason_for_a_punch_and_no_change_of_location(bench: Bench, peer: PeerState) -> None:
    inputs, locations = peer.punch_inputs, peer.locations
    peer.note_card(bench.right.card(nat=replace(EASY, mapping=Mapping.ADDRESS_DEPENDENT)))
    assert peer.punch_inputs != inputs
    peer.note_card(bench.right.card(nat=EASY))
    assert peer.locations == locations
    bench.right.restart()
    peer.note_card(bench.right.card())
    assert peer.locations != locations


async def test_a_move_keeps_the_reason_unless_it_brings_one_and_connected_has_none(peer: PeerState) -> None:
    reason = Reason(ReasonCode.PATH_LOST)
    peer.note_move("punching", reason)
    peer.note_move("relayed", None)
    assert peer.reason == reason
    peer.note_move("connected", reason)
    assert peer.reason is None


async def test_a_state_sends_only_what_the_chart_lists_for_it(peer: PeerState) -> None:
    with pytest.raises(LocalProtocolError, match="sends no 'probe' while detecting"):
        peer.check_send("probe")
    move(peer, "announcement_acked", "introduced")
    peer.check_send("probe")
    peer.check_send("connect")
    move(peer, "path_verified")
    with pytest.raises(LocalProtocolError, match="sends no 'connect' while connected"):
        peer.check_send("connect")


async def test_the_relay_is_the_circuit_where_it_is_proved_and_the_websocket_beside_a_path(peer: PeerState) -> None:
    """A circuit is not probed while a direct path carries, so it is not relied on."""
    peer.paths.relays.use(CIRCUIT)
    circuit = peer.paths.relays.circuit
    assert circuit is not None
    move(peer, "announcement_acked", "introduced")
    assert list(peer.relay_ways) == [RELAY]
    circuit.note_answer(trio.current_time(), 0.04)
    circuit.is_proved = True
    assert list(peer.relay_ways) == [CIRCUIT]
    move(peer, "path_verified")
    assert list(peer.relay_ways) == [RELAY]


async def test_without_a_server_only_a_circuit_that_just_carried_is_left(bench: Bench, peer: PeerState) -> None:
    bench.left.is_registered = False
    assert list(peer.relay_ways) == []
    peer.paths.relays.use(CIRCUIT)
    circuit = peer.paths.relays.circuit
    assert circuit is not None
    circuit.note_answer(trio.current_time(), 0.04)
    circuit.is_proved = True
    assert list(peer.relay_ways) == [CIRCUIT]
    await trio.sleep(DEFAULT_TIMINGS.circuit_alone + 0.1)
    assert list(peer.relay_ways) == []


async def test_a_handshake_takes_each_relay_way_and_the_path_once(bench: Bench, peer: PeerState) -> None:
    assert list(peer.handshake_ways) == [RELAY]
    peer.paths.relays.use(CIRCUIT)
    circuit = peer.paths.relays.circuit
    assert circuit is not None
    circuit.note_answer(trio.current_time(), 0.04)
    circuit.is_proved = True
    peer.paths.chosen = Path(WAY, is_proved=True)
    assert list(peer.handshake_ways) == [RELAY, CIRCUIT, WAY]
    bench.left.is_registered = False
    peer.paths.relays.use(None)
    assert list(peer.handshake_ways) == [WAY]
