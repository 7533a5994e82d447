"""The plan of a punch: made from both announcements, and made anew only when something it depends on has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from tests.peer.attempts import Sent
from tests.peer.conftest import peer_state_of

from tunnel.model.endpoint import Endpoint
from tunnel.model.way import Way
from tunnel.peer.port_prediction.punch import PortPrediction
from tunnel.peer.punch_planner import PunchPlanner

if TYPE_CHECKING:
    from tests.peer.conftest import Bench

    from tunnel.peer.peer_state import PeerState

ELSEWHERE = Way(0, Endpoint("25.2.0.1", 61234))


class Planned:
    """A peer, and the planner of its punches."""

    def __init__(self, bench: Bench) -> None:
        side = bench.left
        self.peer: PeerState = peer_state_of(side)
        self.prediction = PortPrediction(
            self.peer, side.context, Sent(), datagrams=side, sockets=side.ports.punch_sockets, budget=side.budget
        )
        self.planner = PunchPlanner(self.peer, side.timings, side, self.prediction)


@pytest.fixture
def planned(bench: Bench) -> Planned:
    return Planned(bench)


async def test_without_both_announcements_there_is_nothing_to_try(planned: Planned) -> None:
    assert planned.planner.plan().is_empty


async def test_a_plan_is_made_once_for_what_is_known(bench: Bench, planned: Planned) -> None:
    planned.peer.note_card(bench.right.card())
    plan = planned.planner.plan()
    assert plan.ways == (Way(0, bench.right.endpoint),)
    assert planned.planner.plan() is planned.planner.last is plan


async def test_a_new_report_a_way_that_answered_and_an_attempt_make_it_anew(bench: Bench, planned: Planned) -> None:
    planned.peer.note_card(bench.right.card())
    first = planned.planner.plan()
    bench.left.card(relay_only=True)
    assert planned.planner.plan().is_empty
    bench.left.card(relay_only=False)
    assert planned.planner.plan() == first
    planned.peer.paths.expect(ELSEWHERE).note_answer(trio.current_time(), 0.04)
    assert planned.planner.plan().ways == (*first.ways, ELSEWHERE)
    second = planned.planner.plan()
    planned.prediction.attempts += 1
    assert planned.planner.plan() is not second
