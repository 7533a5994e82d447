"""Punching and staying connected, where what was announced is wrong or comes twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.nat import NatReport, Udp
from tunnel.model.reasons import ReasonCode
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.model.way import RELAY, Way
from tunnel.wire.frames import Kind

if TYPE_CHECKING:
    from tests.peer.conftest import Bench, Side

BLOCKED = NatReport(udp=Udp.BLOCKED)


async def echo(side: Side) -> float:
    with trio.fail_after(5.0):
        return await side.peer.echo()


async def test_a_peer_is_found_where_its_probes_come_from_although_it_announced_another_port(bench: Bench) -> None:
    """Behind a NAT that gives each destination a port of its own, no STUN server can know the one that peers meet."""
    announced = bench.left.endpoint
    bench.left.card(candidates=(Candidate(announced, CandidateKind.REFLEXIVE),))
    bench.left.endpoint = announced._replace(port=61234)
    bench.meet()
    bench.right.peer.want()
    await bench.wait_state(bench.left, "connected", 2.0)
    await bench.wait_state(bench.right, "connected", 2.0)
    assert bench.right.peer.flow.route == (Way(0, bench.left.endpoint),)
    await echo(bench.right)
    assert await echo(bench.right) == pytest.approx(0.04, abs=0.001)


async def test_a_path_that_nobody_uses_is_known_to_be_idle(bench: Bench) -> None:
    """What keeps it alive is no use of it."""
    assert bench.left.peer.status().idle is None
    await bench.connect()
    await echo(bench.left)
    assert bench.left.peer.status().idle == pytest.approx(0.0, abs=0.001)
    await trio.sleep(60.0)
    for side in (bench.left, bench.right):
        assert side.peer.status().idle == pytest.approx(60.0, abs=0.1)
        assert side.peer.status().kept_path is None
    await trio.sleep(600.0)
    for side in (bench.left, bench.right):
        status = side.peer.status()
        assert (status.state, status.path) == ("connected", None)
        assert status.kept_path is not None
        assert status.kept_path.kind == "direct"
    bench.right.peer.send_packet(b"data")
    await trio.sleep(1.0)
    for side in (bench.left, bench.right):
        assert side.peer.status().idle == pytest.approx(1.0, abs=0.1)


async def test_two_that_no_stun_server_answered_still_find_each_other(bench: Bench) -> None:
    """Silence of all STUN servers is no proof that peers cannot be reached: one round is always shot."""
    bench.left.card(nat=BLOCKED)
    bench.right.card(nat=BLOCKED)
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "connected", 2.0)
    await bench.wait_state(bench.right, "connected", 2.0)


async def test_introductions_that_come_again_neither_end_a_path_nor_start_anything_twice(bench: Bench) -> None:
    await bench.connect()
    await trio.sleep(10.0)
    moves = [list(side.moves) for side in (bench.left, bench.right)]
    route = bench.left.peer.flow.route
    bench.left.sent.clear()
    for _ in range(20):
        bench.introduce()
        await trio.sleep(0.5)
    assert [list(side.moves) for side in (bench.left, bench.right)] == moves
    assert bench.left.peer.flow.route == route
    volleys = [at for at, way, _, _ in bench.left.sent if way != RELAY]
    assert len(volleys) < 200
    assert await echo(bench.left) > 0


async def test_new_candidates_in_the_middle_of_a_punch_join_it(bench: Bench) -> None:
    """The round is not begun anew, and nothing of an older one is left to race with it."""
    away = bench.right.endpoint._replace(host="25.2.0.99")
    bench.right.card(candidates=(Candidate(away, CandidateKind.REFLEXIVE),))
    bench.drop = lambda side, way, datagram: way != RELAY and side is bench.right
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "punching")
    await trio.sleep(2.0)
    bench.drop = lambda side, way, datagram: False
    card = bench.right.own_card
    assert card is not None
    true = replace(card.body, candidates=(Candidate(bench.right.endpoint, CandidateKind.REFLEXIVE),))
    bench.right.own_card = replace(card, seq=card.seq + 1, body=true)
    bench.meet()
    await bench.wait_state(bench.left, "connected", 2.0)
    assert [move for move in bench.left.moves if move[1] == "punching"] == [("requested", "punching")]


async def test_a_peer_that_does_not_answer_over_the_relay_is_taken_for_gone(bench: Bench) -> None:
    """The server may believe in a dead machine's connection for long; probes over the relay do not."""
    bench.direct = False
    bench.left.card(relay_only=True)
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "relayed")
    await trio.sleep(2.0)
    bench.drop = lambda side, way, datagram: side is bench.right
    took = await bench.wait_state(bench.left, "announced", 60.0)
    timings = DEFAULT_TIMINGS
    assert timings.relay_trust < took <= timings.relay_trust + 2 * timings.relay_heartbeat
    reason = bench.left.peer.status().reason
    assert reason is not None
    assert reason.code is ReasonCode.PEER_OFFLINE


async def test_a_relay_at_rest_is_measured_each_five_seconds(bench: Bench) -> None:
    bench.direct = False
    bench.left.card(relay_only=True)
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "relayed")
    await trio.sleep(1.0)
    path = bench.left.peer.path_status()
    assert path is not None
    assert path.kind == "relay-websocket"
    assert path.rtt == pytest.approx(0.08)
    await bench.wait_state(bench.right, "relayed")
    await trio.sleep(2 * DEFAULT_TIMINGS.path_in_use)
    bench.left.sent.clear()
    bench.right.sent.clear()
    seconds = 60.0
    await trio.sleep(seconds)
    probes = sum(side.kinds_sent(RELAY).count(Kind.PROBE) for side in (bench.left, bench.right))
    questions_and_answers = 2 * 2 * seconds / DEFAULT_TIMINGS.relay_heartbeat
    assert probes == pytest.approx(questions_and_answers, abs=4)
