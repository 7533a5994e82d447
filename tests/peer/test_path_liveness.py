"""The keeper of the path in use: what it asks, what it doubts, when it gives up."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import trio
from tests.dataplane.flows import open_flow

from tunnel.model.endpoint import Endpoint
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.model.way import Way
from tunnel.peer.path_liveness import PathLiveness
from tunnel.peer.path_table import NEVER, Path, PathTable


@pytest.fixture
def paths() -> PathTable:
    """One proven path, in use."""
    made = PathTable(DEFAULT_TIMINGS)
    made.chosen = Path(Way(0, Endpoint("192.0.2.1", 7)), rtt=0.04, is_proven=True)
    return made


def a_keeper(
    paths: PathTable,
    *,
    ask: Callable[[Way], None] | None = None,
    keepalive: Callable[[], float] = lambda: DEFAULT_TIMINGS.keepalive,
    changed: Callable[[], None] = lambda: None,
) -> PathLiveness:
    """One whose probes nobody answers."""

    def leave_open(way: Way) -> None:
        assert paths.chosen is not None
        paths.chosen.asked = min(trio.current_time(), paths.chosen.asked, key=lambda at: (at == NEVER, at))

    return PathLiveness(
        paths,
        open_flow()[0],
        DEFAULT_TIMINGS,
        ask=ask or leave_open,
        keepalive=keepalive,
        suspect=lambda: None,
        changed=changed,
    )


def an_answered_keeper(paths: PathTable) -> PathLiveness:
    """One whose path has just been answered on, for the last time."""
    assert paths.chosen is not None
    paths.chosen.answered = trio.current_time()
    return a_keeper(paths)


async def test_a_path_given_up_leaves_the_relay_on_the_route_to_the_end(
    autojump_clock: trio.testing.MockClock, paths: PathTable
) -> None:
    """Between the end of a doubted path and the next state there must be no moment in which nothing carries."""
    doubts: list[bool] = []
    path = paths.chosen
    assert path is not None
    path.answered = path.asked = trio.current_time()
    liveness = a_keeper(paths, ask=lambda way: None, changed=lambda: doubts.append(liveness.is_doubted))

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
    assert doubts == [True]
    assert not liveness.is_doubted


async def test_an_idle_path_is_asked_as_often_as_our_nat_forgets(
    autojump_clock: trio.testing.MockClock, paths: PathTable
) -> None:
    """The lifetime of its mappings may come to be known meanwhile."""
    lifetime = 40.0
    asked: list[float] = []
    liveness = a_keeper(paths, ask=lambda way: asked.append(trio.current_time()), keepalive=lambda: lifetime / 2)
    with trio.move_on_after(50.0):
        await liveness.keep()
    lifetime = 10.0
    with trio.move_on_after(16.0):
        await liveness.keep()
    gaps = [later - sooner for sooner, later in pairwise(asked)]
    assert gaps == pytest.approx([20.0, 20.0, 10.0, 5.0, 5.0, 5.0])


async def test_a_path_that_is_used_once_is_judged_until_something_is_answered(
    autojump_clock: trio.testing.MockClock, paths: PathTable
) -> None:
    """Who sends one packet and then nothing, or one each seven seconds, has asked as well as who sends all the time."""
    liveness = an_answered_keeper(paths)
    await trio.sleep(60.0)
    began = trio.current_time()
    liveness.note_sent(began)
    with trio.fail_after(8.0):
        await liveness.keep()
    assert trio.current_time() - began == pytest.approx(DEFAULT_TIMINGS.path_trust, abs=0.3)


async def test_sending_after_a_pause_does_not_begin_the_judgement_anew(
    autojump_clock: trio.testing.MockClock, paths: PathTable
) -> None:
    liveness = an_answered_keeper(paths)

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


async def test_a_peer_that_speaks_over_the_relay_makes_us_judge_the_path(
    autojump_clock: trio.testing.MockClock, paths: PathTable
) -> None:
    """We only receive: without this the peer alone would lose the path, and its punches would find nobody."""
    liveness = an_answered_keeper(paths)
    await trio.sleep(20.0)
    liveness.note_relayed(trio.current_time())
    with trio.fail_after(8.0):
        await liveness.keep()


async def test_an_idle_path_is_in_doubt_while_a_keepalive_is_unanswered_and_not_given_up(
    autojump_clock: trio.testing.MockClock, paths: PathTable
) -> None:
    """The first packet after that goes on both ways, so it is not lost; a peer that is asleep costs nothing."""
    liveness = an_answered_keeper(paths)
    with trio.move_on_after(60.0) as minute:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def watch() -> None:
                await trio.sleep(DEFAULT_TIMINGS.path_suspect + 0.1)
                assert liveness.is_doubted

            await liveness.keep()
    assert minute.cancelled_caught
