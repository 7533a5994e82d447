"""What a side heeds of the other's hints, and what it says and sends itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.peer.attempts import THEIRS, go_solo

from tunnel.model.way import Way
from tunnel.peer.port_prediction.attempt import MAX_REPORTED_PORTS
from tunnel.peer.port_prediction.limits import PREDICTION_PACKETS
from tunnel.peer.port_prediction.plan import FIRST_PORT, PredictionPlan, Span, TacticName
from tunnel.wire.probes import MAX_SPANS, PunchPhase

if TYPE_CHECKING:
    from tests.peer.conftest import Bench

TACTIC = PredictionPlan(TacticName.PREDICTED, we_listen=False, sockets=20)


async def test_honest_spans_are_heeded_as_they_were_told(bench: Bench) -> None:
    solo = await go_solo(bench.left, TACTIC)
    spans = tuple((port, port + 4) for port in range(5000, 5000 + MAX_SPANS * 10, 10))
    solo.hear(*spans)
    assert solo.attempt.told == spans


@pytest.mark.parametrize(
    ("spans", "heeded"),
    [
        ([(1, 65535)] * MAX_SPANS, ((FIRST_PORT, FIRST_PORT + MAX_REPORTED_PORTS - 1),)),
        ([(2000, 3999), (5000, 9999), (20_000, 20_001)], ((2000, 3999), (5000, 5047))),
        ([(22, 25), (1000, 1030), (443, 443)], ((1024, 1030),)),
    ],
    ids=["all ports", "the first so many", "none of services"],
)
async def test_no_more_ports_are_heeded_than_there_are_flows_for(
    bench: Bench, spans: list[Span], heeded: tuple[Span, ...]
) -> None:
    """They are walked through twenty times a second: all ports, 32 times over, would take longer than that."""
    solo = await go_solo(bench.left, TACTIC)
    solo.hear(*spans)
    assert solo.attempt.told == heeded


@pytest.mark.parametrize("span", [(0, 3), (-2, 7), (65535, 65536), (70_000, 70_001), (9, 8)])
async def test_a_port_that_cannot_be_is_not_told(bench: Bench, span: Span) -> None:
    """A count that is at an end of the range: the next port is nowhere, and no hint could say it."""
    solo = await go_solo(bench.left, TACTIC)
    solo.attempt.note_span(THEIRS, span)
    assert solo.told == []
    solo.attempt.note_span(THEIRS, (65535, 65535))
    solo.attempt.say(PunchPhase.OVER)
    assert [hint.spans for hint in solo.told] == [((65535, 65535),)] * 2


async def test_an_attempt_has_so_many_packets_and_no_more(bench: Bench) -> None:
    solo = await go_solo(bench.left, TACTIC)
    assert solo.attempt.slot.take_flow()
    sent = sum(solo.attempt.send_again(Way(0, THEIRS)) for _ in range(2 * PREDICTION_PACKETS))
    assert sent == len(solo.probes) == PREDICTION_PACKETS - 1
    assert solo.attempt.slot.is_spent
    assert not solo.attempt.slot.take_flow()
