"""The liveness of the path in use: what is probed, what is doubted, when it is given up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio
from tests.peer.conftest import EASY, peer_state_of
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.model.way import RELAY, Way
from tunnel.peer.path import NEVER, Path
from tunnel.peer.path_liveness import PathLiveness
from tunnel.peer.peer_state import PeerState
from tunnel.peer.port_prediction.punch import PortPrediction
from tunnel.peer.probes import Probes
from tunnel.peer.punch_planner import PunchPlanner
from tunnel.peer.routing import Routing

if TYPE_CHECKING:
    from tests.peer.conftest import Bench, Side

WAY = Way(0, Endpoint("192.0.2.1", 7))


class UnansweredProbes(Probes):
    """Probes that nobody answers."""

    def __init__(self, peer: PeerState, *, marks_asked: bool) -> None:
        self.peer = peer
        self.asked: list[float] = []
        self.marks_asked = marks_asked

    def ask(self, way: Way, ttl: int | None = None) -> None:
        path = self.peer.paths.at(way)
        if way == WAY:
            self.asked.append(trio.current_time())
            path = self.peer.paths.chosen
        if self.marks_asked and path is not None and path.asked == NEVER:
            path.asked = trio.current_time()


class WatchedRouting(Routing):
    """Writes down the doubts for which the route is made anew."""

    def __init__(self, peer: PeerState) -> None:
        self.peer = peer
        self.doubts: list[bool] = []

    def update(self) -> None:
        self.doubts.append(self.peer.paths.is_doubted)


class Kept:
    """One proved path in use, of a peer that is connected, and what keeps it."""

    def __init__(self, side: Side, *, marks_asked: bool = True) -> None:
        context, ports = side.context, side.ports
        self.side = side
        self.peer = peer_state_of(side)
        self.path = self.peer.paths.chosen = Path(WAY, rtt=0.04, is_proved=True)
        facts = {"relay": True, "direct_allowed": True}
        for event in ("announcement_acked", "introduced", "path_verified"):
            self.peer.chart.take(event, facts)
        self.probes = UnansweredProbes(self.peer, marks_asked=marks_asked)
        self.routing = WatchedRouting(self.peer)
        prediction = PortPrediction(
            self.peer,
            context,
            self.probes,
            datagrams=ports.datagrams,
            sockets=ports.punch_sockets,
            budget=ports.probe_budget,
        )
        planner = PunchPlanner(self.peer, context.timings, ports.datagrams, prediction)
        self.liveness = PathLiveness(self.peer, context.timings, self.probes, self.routing, planner, ports.watch)


def answered(side: Side) -> Kept:
    """A path on which a probe has just been answered, for the last time."""
    kept = Kept(side)
    kept.path.answered = trio.current_time()
    return kept


async def test_a_path_given_up_leaves_the_relay_on_the_route_to_the_end(bench: Bench) -> None:
    """Between the end of a doubted path and the next state there must be no moment in which nothing carries."""
    kept = Kept(bench.left, marks_asked=False)
    kept.path.answered = kept.path.asked = trio.current_time()
    liveness = kept.liveness

    async def keep_using() -> None:
        while True:
            liveness.note_sent(trio.current_time())
            await trio.sleep(0.1)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_using)
        await liveness.keep()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began == pytest.approx(DEFAULT_TIMINGS.path_trust, abs=0.2)
    assert kept.routing.doubts == [True]
    assert not kept.peer.paths.is_doubted


async def test_an_idle_path_is_asked_as_often_as_our_nat_forgets(bench: Bench) -> None:
    """The lifetime of its mappings may come to be known meanwhile."""
    kept = Kept(bench.left, marks_asked=False)
    bench.left.card(nat=replace(EASY, lifetime=40.0))
    with trio.move_on_after(50.0):
        await kept.liveness.keep()
    bench.left.card(nat=replace(EASY, lifetime=2 * DEFAULT_TIMINGS.keepalive_least))
    with trio.move_on_after(16.0):
        await kept.liveness.keep()
    gaps = [later - sooner for sooner, later in pairwise(kept.probes.asked)]
    assert gaps == pytest.approx([20.0, 20.0, 10.0, 5.0, 5.0, 5.0])


async def test_a_path_that_is_used_once_is_judged_until_something_is_answered(bench: Bench) -> None:
    """One packet, or one each seven seconds, is owed an answer as much as steady traffic."""
    liveness = answered(bench.left).liveness
    await trio.sleep(60.0)
    began = trio.current_time()
    liveness.note_sent(began)
    with trio.fail_after(8.0):
        await liveness.keep()
    assert trio.current_time() - began == pytest.approx(DEFAULT_TIMINGS.path_trust, abs=0.3)


async def test_sending_after_a_pause_does_not_begin_the_judgment_anew(bench: Bench) -> None:
    liveness = answered(bench.left).liveness

    async def send_now_and_then() -> None:
        while True:
            await trio.sleep(5.5)
            liveness.note_sent(trio.current_time())

    began = trio.current_time()
    with trio.fail_after(60.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_now_and_then)
            await liveness.keep()
            nursery.cancel_scope.cancel()
    assert trio.current_time() - began == pytest.approx(5.5 + DEFAULT_TIMINGS.path_trust, abs=0.3)


async def test_a_peer_that_speaks_over_the_relay_makes_us_judge_the_path(bench: Bench) -> None:
    """We only receive: without this the peer alone would lose the path, and its punches would meet no answer."""
    liveness = answered(bench.left).liveness
    await trio.sleep(20.0)
    liveness.note_asked(RELAY, trio.current_time())
    with trio.fail_after(8.0):
        await liveness.keep()


async def test_an_idle_path_is_in_doubt_while_a_keepalive_is_unanswered_and_not_given_up(bench: Bench) -> None:
    """The first packet after that goes on both ways, so it is not lost; a peer that is asleep costs nothing."""
    kept = answered(bench.left)
    with trio.move_on_after(60.0) as minute:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def watch() -> None:
                await trio.sleep(DEFAULT_TIMINGS.path_suspect + 0.1)
                assert kept.peer.paths.is_doubted

            await kept.liveness.keep()
    assert minute.cancelled_caught


async def use(kept: Kept, *, answers: bool) -> None:
    """Send ten times a second. The peer answers what is asked after 40 ms, or nothing."""
    while True:
        kept.liveness.note_sent(trio.current_time())
        await trio.sleep(0.04)
        if answers and kept.path.asked != NEVER:
            kept.path.note_answer(trio.current_time(), 0.04)
        await trio.sleep(0.06)


@asynccontextmanager
async def kept_in_use(side: Side) -> AsyncIterator[Kept]:
    """By a program that notices its stalls."""
    kept = answered(side)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(side.stalls.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(kept.liveness.keep)
        nursery.start_soon(partial(use, kept, answers=True))
        yield kept
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seconds", [0.5, 0.6, 2.0, 4.9])
async def test_a_program_without_a_turn_doubts_no_path(bench: Bench, autojump_clock: MockClock, seconds: float) -> None:
    """The answer to what it asked before lies in its socket: whether that is read first is chance."""
    for step in range(20):  # before, while and after a question is open
        async with kept_in_use(bench.left) as kept:
            await trio.sleep(3.0 + step / 20)
            autojump_clock.jump(seconds)
            await trio.sleep(2.0)
            assert kept.routing.doubts == []
    assert bench.left.suspicions == 0


async def test_what_was_asked_before_a_stall_is_asked_again_after_it(bench: Bench, autojump_clock: MockClock) -> None:
    """Where much comes in, the socket was full by the time of its answer."""
    kept = answered(bench.left)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.left.stalls.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(kept.liveness.keep)
        nursery.start_soon(partial(use, kept, answers=False))
        for seconds in (0.4, 0.5, 2.0, 4.0):
            await trio.sleep(0.02)
            kept.liveness.note_sent(trio.current_time())
            while kept.path.asked == NEVER:  # noqa: ASYNC110 - the next heartbeat
                await trio.sleep(0.01)
            autojump_clock.jump(seconds)
            before = len(kept.probes.asked)
            while len(kept.probes.asked) == before:  # noqa: ASYNC110 - it is asked again
                await trio.sleep(0.01)
            await trio.sleep(0.04)
            kept.path.note_answer(trio.current_time(), 0.04)
        assert kept.routing.doubts == []
        nursery.cancel_scope.cancel()


async def test_a_path_that_dies_in_a_stall_is_doubted_and_given_up_as_soon_as_ever(
    bench: Bench, autojump_clock: MockClock
) -> None:
    kept = answered(bench.left)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.left.stalls.run)
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1.0)
        nursery.start_soon(partial(use, kept, answers=False))
        doubts = kept.routing.doubts

        @nursery.start_soon
        async def stall() -> None:
            await trio.sleep(0.05)
            autojump_clock.jump(2.0)
            ended = trio.current_time()
            await trio.sleep(DEFAULT_TIMINGS.heartbeat + DEFAULT_TIMINGS.path_suspect + 0.1)
            assert doubts == [True]
            await trio.sleep_until(ended + DEFAULT_TIMINGS.path_trust + 0.3)
            nursery.cancel_scope.cancel()
            pytest.fail("it is still trusted")

        await kept.liveness.keep()
        nursery.cancel_scope.cancel()


async def test_that_the_peer_used_the_relay_while_we_had_no_turn_says_nothing_of_the_path(
    bench: Bench, autojump_clock: MockClock
) -> None:
    """It heard nothing of us. If it goes on after that, it does not hear us on the path."""
    async with kept_in_use(bench.left) as kept:
        await trio.sleep(3.0)
        autojump_clock.jump(2.0)
        for _ in range(9):
            kept.liveness.note_asked(RELAY, trio.current_time())
            await trio.sleep(0.1)
        assert kept.routing.doubts == []
        await trio.sleep(0.2)
        kept.liveness.note_asked(RELAY, trio.current_time())
        await trio.sleep(DEFAULT_TIMINGS.heartbeat)
        assert kept.routing.doubts == [True]
