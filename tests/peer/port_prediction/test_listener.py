"""The listener alone: where it sends, how often, and what no scanner can make it do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from tests.peer.attempts import COUNTS, THEIRS, Solo, go_solo

from tunnel.peer.port_prediction.limits import PREDICTION_PACKETS
from tunnel.peer.port_prediction.listener import FIRST_REPEAT, MAX_BLOCK_PORTS, REPEAT, Listener
from tunnel.peer.port_prediction.plan import FIRST_PORT, Aim, PredictionPlan, TacticName
from tunnel.wire.probes import PunchPhase

if TYPE_CHECKING:
    from tests.peer.conftest import Bench

KNOWN = PredictionPlan(TacticName.PREDICTED, we_listen=True, sockets=20)
WHOLE_BLOCK = replace(KNOWN, sockets=240, aim=Aim.WHOLE_BLOCK, aim_block=(2048, 2048 + MAX_BLOCK_PORTS - 1))


async def open_for(solo: Solo, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await Listener(solo.attempt).run()


async def test_each_socket_sends_at_once_and_again_so_as_to_arrive(bench: Bench) -> None:
    solo = await go_solo(bench.left, KNOWN)
    solo.hear()
    await open_for(solo, FIRST_REPEAT + REPEAT + 0.5)
    first = [at for at, way in solo.probes if way.socket == solo.attempt.numbers[0]]
    assert first == pytest.approx([0.0, FIRST_REPEAT, FIRST_REPEAT + REPEAT], abs=0.06)
    assert solo.ports == {THEIRS.port}
    assert (solo.attempt.slot.sockets, solo.attempt.slot.flows) == (20, 20)
    assert solo.attempt.slot.packets == len(solo.probes) == 60


async def test_it_stops_when_the_scanner_has(bench: Bench) -> None:
    solo = await go_solo(bench.left, KNOWN)
    solo.hear(phase=PunchPhase.OVER)
    await open_for(solo, 5.0)
    assert solo.probes == []


async def test_a_scanner_that_never_ends_is_sent_no_more_than_an_attempt_may(bench: Bench) -> None:
    """It may be a victim's address, and the peer that announced it goes on saying that it scans."""
    solo = await go_solo(bench.left, WHOLE_BLOCK)
    solo.hear()
    await open_for(solo, 60.0)
    assert len(solo.ports) == MAX_BLOCK_PORTS
    assert len(solo.probes) == PREDICTION_PACKETS


@pytest.mark.parametrize(("told", "probed"), [((22, 25), set()), ((1022, 1025), {1024, 1025})])
async def test_no_service_at_the_scanner_s_address_is_aimed_at(
    bench: Bench, told: tuple[int, int], probed: set[int]
) -> None:
    solo = await go_solo(bench.left, replace(KNOWN, aim=Aim.REPORTED_PORT, scan_sockets=1))
    solo.hear(told)
    await open_for(solo, 3.0)
    assert solo.ports == probed


async def test_a_count_that_goes_down_to_services_is_followed_no_further(bench: Bench) -> None:
    plan = replace(KNOWN, aim=Aim.NEXT_PORTS, scan_sockets=240)
    solo = await go_solo(bench.left, plan, theirs=replace(COUNTS, step=-1))
    solo.hear((1060, 1060))
    await open_for(solo, 3.0)
    assert solo.ports
    assert min(solo.ports) >= FIRST_PORT
