"""The scanner alone: which ports it probes, and what no listener can make it do."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import trio
from tests.peer.attempts import COUNTS, THEIRS, Solo, go_solo

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Mapping
from tunnel.peer.port_prediction.attempt import MAX_REPORTED_PORTS
from tunnel.peer.port_prediction.limits import PREDICTION_FLOWS, PREDICTION_PACKETS
from tunnel.peer.port_prediction.plan import FIRST_PORT, Aim, PredictionPlan, TacticName
from tunnel.peer.port_prediction.scanner import MARGIN, MOST_PAIRS, REPEAT, Scanner
from tunnel.wire.probes import MAX_SPANS, PunchPhase

if TYPE_CHECKING:
    from tests.peer.conftest import Bench

REPORTED = PredictionPlan(TacticName.PREDICTED, we_listen=False, sockets=20)
FILLS = replace(REPORTED, sockets=16, aim=Aim.SOME_OF_BLOCK, aim_block=(10240, 12287), scan_sockets=130)
EVERYWHERE = [(1, 65535)] * MAX_SPANS


async def guess(solo: Solo, seconds: float) -> Scanner:
    """For so long at most."""
    scanner = Scanner(solo.attempt)
    with trio.move_on_after(seconds):
        await scanner.run()
    return scanner


async def test_ports_that_were_told_are_asked_with_a_few_beside_them_and_again(bench: Bench) -> None:
    solo = await go_solo(bench.left, REPORTED)
    solo.hear((5000, 5009))
    await guess(solo, 2.5 * REPEAT)
    assert solo.ports == set(range(5000 - MARGIN, 5010 + MARGIN))
    assert solo.attempt.slot.flows == 10 + 2 * MARGIN
    asked = Counter(way.remote.port for _, way in solo.probes if way.remote is not None)
    assert asked[5000] == asked[5009] == 3
    assert solo.attempt.slot.packets == len(solo.probes)


async def test_it_stops_when_the_listener_has(bench: Bench) -> None:
    solo = await go_solo(bench.left, REPORTED)
    solo.hear((5000, 5009), phase=PunchPhase.OVER)
    await guess(solo, 5.0)
    assert trio.current_time() < 1.0


async def test_a_listener_that_tells_all_ports_has_as_many_probed_as_there_are_flows_for(bench: Bench) -> None:
    solo = await go_solo(bench.left, REPORTED)
    solo.hear(*EVERYWHERE)
    scanner = await guess(solo, 20.0)
    assert len(scanner._known) <= MAX_REPORTED_PORTS
    assert solo.attempt.slot.flows == PREDICTION_FLOWS
    assert len(solo.probes) <= PREDICTION_PACKETS
    assert min(solo.ports) == FIRST_PORT


async def test_a_listener_that_tells_other_ports_each_time_fills_no_memory(bench: Bench) -> None:
    """Each of many sockets would wait for each port that was ever told."""
    solo = await go_solo(bench.left, FILLS)
    most = 0

    async def tell() -> None:
        nonlocal most
        for number in range(6):
            solo.hear((2000 * (number + 1), 2000 * (number + 1) + 1999))
            await trio.sleep(0.1)
            most = max(most, len(scanner._waiting))

    scanner = Scanner(solo.attempt)
    with trio.move_on_after(1.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            await scanner.run()
    assert 1000 < most <= MOST_PAIRS


async def test_a_count_at_the_end_of_the_ports_is_no_error(bench: Bench) -> None:
    """Its next port is none: nothing is told of it, and the punch goes on."""
    bench.left.seen_at = Endpoint("25.1.0.1", 65535)
    plan = replace(REPORTED, aim=Aim.REPORTED_PORT, scan_sockets=1)
    solo = await go_solo(bench.left, plan, own=replace(COUNTS, mapping=Mapping.ADDRESS_DEPENDENT))
    solo.hear((5000, 5009))
    await guess(solo, 2.0)
    assert solo.told == []
    assert set(range(5000, 5010)) <= solo.ports <= set(range(5000 - MARGIN, 5010 + MARGIN)) | {THEIRS.port}
