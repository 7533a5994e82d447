"""The state runner in virtual time: which event goes first, what is forgotten, and that nothing outlives its state."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from tunnel.machines.chart import Chart
from tunnel.machines.diagrams import CHARTS
from tunnel.machines.peer_connection import PeerConnectionChart
from tunnel.machines.session import SessionChart
from tunnel.machines.state_runner import PATIENCE_ENDED, Activity, StateRunner, StateRunnerStatistics
from tunnel.model.errors import LocalProtocolError

Move = tuple[float, str, str, str]
END = "the program ends"


@dataclass
class Recording:
    """One run of a chart and all its moves, with times since it was made."""

    chart: Chart
    activities: Mapping[str, Activity] = field(default_factory=dict)
    patience: Mapping[str, float] = field(default_factory=dict)
    facts: dict[str, bool] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start = trio.current_time()
        self.runner = StateRunner(
            self.chart,
            self.activities,
            patience=lambda state: self.patience.get(state, math.inf),
            facts=lambda: self.facts,
            on_move=self._write,
        )

    def now(self) -> float:
        return round(trio.current_time() - self.start, 6)

    def events(self) -> list[str]:
        return [event for _, _, event, _ in self.moves]

    async def run(self) -> None:
        """Run the chart, and fail if that does not end."""
        with trio.fail_after(1000):
            await self.runner.run()

    async def post(self, *posts: tuple[float, str]) -> None:
        """Run the chart and post each event at its time. The last one is `close`, or `END` if there is no close."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run)
            for at, event in posts:
                await trio.sleep_until(self.start + at)
                if event == END:
                    nursery.cancel_scope.cancel()
                else:
                    self.runner.post(event)

    def _write(self, source: str, event: str, target: str) -> None:
        self.moves.append((self.now(), source, event, target))


def after(seconds: float, event: str) -> Activity:
    async def activity() -> str:
        await trio.sleep(seconds)
        return event

    return activity


def punching(*, relay: bool = True) -> PeerConnectionChart:
    return PeerConnectionChart(start_value="punching")


# Leaving a state: by the activity, from outside, by the end of patience


async def test_states_are_left_by_activities_by_outside_events_and_by_patience(autojump_clock: MockClock) -> None:
    """A whole peer connection: the first punch fails, the second succeeds."""
    punches = iter((30.0, 0.4, 0.4))

    async def punch() -> str:
        await trio.sleep(next(punches))
        return "path_verified"

    recording = Recording(
        PeerConnectionChart(),
        {"detecting": after(1.5, "announcement_acked"), "punching": punch},
        {"requested": 12, "punching": 10, "relayed": 5},
        {"relay": True, "direct_allowed": True},
    )
    await recording.post((3, "peer_wanted"), (5, "introduced"), (40, "path_lost"), (60, "close"))
    assert recording.moves == [
        (1.5, "detecting", "announcement_acked", "announced"),
        (3.0, "announced", "peer_wanted", "requested"),
        (5.0, "requested", "introduced", "punching"),
        (15.0, "punching", "patience_ended", "relayed"),
        (20.0, "relayed", "patience_ended", "punching"),
        (20.4, "punching", "path_verified", "connected"),
        (40.0, "connected", "path_lost", "punching"),
        (40.4, "punching", "path_verified", "connected"),
        (60.0, "connected", "close", "closed"),
    ]
    assert recording.runner.state == "closed"
    assert recording.runner.statistics() == StateRunnerStatistics(moves=9, ignored=0, patience_unused=0)


async def test_a_self_transition_restarts_activity_and_patience(autojump_clock: MockClock) -> None:
    """A handshake is sent again when patience ends: entering the state anew is what sends it."""
    started: list[float] = []

    async def handshake() -> str:
        started.append(recording.now())
        await trio.sleep_forever()
        raise AssertionError

    recording = Recording(SessionChart(), {"handshaking": handshake}, {"handshaking": 2})
    await recording.post((1, "wanted"), (6, END))
    assert started == [1, 3, 5]
    assert recording.moves[1:3] == [
        (3, "handshaking", "patience_ended", "handshaking"),
        (5, "handshaking", "patience_ended", "handshaking"),
    ]


async def test_patience_is_asked_at_each_entry(autojump_clock: MockClock) -> None:
    """So it may follow a ladder."""
    ladder = iter((1.0, 2.0, 4.0, 8.0))
    moves: list[float] = []
    runner = StateRunner(
        SessionChart(start_value="handshaking"),
        {},
        patience=lambda _state: next(ladder),
        facts=dict,
        on_move=lambda *_: moves.append(trio.current_time()),
    )
    with trio.move_on_after(10):
        await runner.run()
    assert moves == [1, 3, 7]


async def test_an_event_that_is_not_enabled_is_counted_and_patience_goes_on(autojump_clock: MockClock) -> None:
    """Facts are kept elsewhere: the event restarts nothing."""
    started: list[float] = []

    async def punch() -> str:
        started.append(recording.now())
        await trio.sleep_forever()
        raise AssertionError

    recording = Recording(punching(), {"punching": punch}, {"punching": 10}, {"relay": True})
    await recording.post((3, "introduced"), (6, "path_lost"), (12, "close"))
    assert recording.moves == [(10, "punching", "patience_ended", "relayed"), (12, "relayed", "close", "closed")]
    assert started == [0]
    assert recording.runner.statistics().ignored == 2


async def test_patience_that_ends_where_that_is_no_event_is_used_up(autojump_clock: MockClock) -> None:
    """No upgrade may be tried: the relay still carries, its activity is undisturbed, and nothing spins."""
    recording = Recording(
        PeerConnectionChart(start_value="relayed"),
        {"relayed": after(50, "relay_lost")},
        {"relayed": 5},
        {"relay": True, "direct_allowed": False},
    )
    await recording.post((60, "close"))
    assert recording.moves == [(50, "relayed", "relay_lost", "announced"), (60, "announced", "close", "closed")]
    assert recording.runner.statistics().patience_unused == 1


async def test_events_posted_before_the_run_are_its_first(autojump_clock: MockClock) -> None:
    """In their order, each in the state that the one before it led to."""
    recording = Recording(PeerConnectionChart(), facts={"direct_allowed": True})
    for event in ("announcement_acked", "peer_wanted", "introduced", "close"):
        recording.runner.post(event)
    await recording.run()
    assert recording.events() == ["announcement_acked", "peer_wanted", "introduced", "close"]


async def test_an_event_that_waits_already_is_not_added_again(autojump_clock: MockClock) -> None:
    """Two agreements before anybody looks are one change of one fact. So the queue cannot grow."""
    recording = Recording(SessionChart())
    for _ in range(1000):
        recording.runner.post("agreed")
    await recording.post((1, END))
    assert recording.events() == ["agreed"]


async def test_a_state_that_is_only_passed_through_starts_nothing(autojump_clock: MockClock) -> None:
    """The event that ends it waits already, so its activity has nothing to do and must not send anything."""
    started: list[str] = []

    async def punch() -> str:
        started.append("punching")
        await trio.sleep_forever()
        raise AssertionError

    recording = Recording(punching(), {"punching": punch})
    recording.runner.post("close")
    await recording.run()
    assert recording.events() == ["close"]
    assert not started


# Nothing outlives its state


async def test_a_state_is_left_only_when_all_that_belonged_to_it_has_ended(autojump_clock: MockClock) -> None:
    """Cleanup counts: the next state never finds the last one still at work."""
    seen: list[tuple[float, str]] = []

    async def punch() -> str:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            seen.append((recording.now(), recording.runner.state))
        raise AssertionError

    recording = Recording(punching(), {"punching": punch})
    await recording.post((1, "peer_left"), (10, "close"))
    assert seen == [(4, "punching")]
    assert recording.moves[0] == (4, "punching", "peer_left", "announced")


async def test_an_event_during_a_cleanup_waits_for_the_next_state(autojump_clock: MockClock) -> None:
    """It is judged in the state that it finds, not in the one that is being left."""

    async def slow_to_end() -> str:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
        raise AssertionError

    recording = Recording(punching(), {"punching": slow_to_end})
    await recording.post((1, "peer_left"), (2, "peer_wanted"), (10, "close"))
    assert recording.moves == [
        (4, "punching", "peer_left", "announced"),
        (4, "announced", "peer_wanted", "requested"),
        (10, "requested", "close", "closed"),
    ]
    assert recording.runner.statistics().ignored == 0


async def test_an_event_that_comes_again_while_the_first_is_acted_on_counts_again(autojump_clock: MockClock) -> None:
    """The first no longer waits, and the second may be about a newer fact."""

    async def slow_to_end() -> str:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
        raise AssertionError

    recording = Recording(SessionChart(start_value="handshaking"), {"handshaking": slow_to_end})
    await recording.post((1, "agreed"), (2, "agreed"), (10, END))
    assert recording.moves == [
        (4, "handshaking", "agreed", "established"),
        (4, "established", "agreed", "established"),
    ]


async def test_a_result_that_would_come_later_never_comes(autojump_clock: MockClock) -> None:
    """The punch would have succeeded at 5; its state was left at 3."""
    recording = Recording(punching(), {"punching": after(5, "path_verified")})
    await recording.post((3, "peer_left"), (20, "close"))
    assert recording.events() == ["peer_left", "close"]


async def test_a_result_from_within_the_cleanup_counts_for_its_own_state(autojump_clock: MockClock) -> None:
    """The state is not left yet, so the result is not stale. The event from outside is judged after it."""

    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(4)
        return "path_verified"

    recording = Recording(punching(), {"punching": stubborn})
    await recording.post((3, "peer_left"), (10, "close"))
    assert recording.moves == [
        (4, "punching", "path_verified", "connected"),
        (4, "connected", "peer_left", "announced"),
        (10, "announced", "close", "closed"),
    ]


async def test_what_lost_against_a_late_result_counts_once_or_never(autojump_clock: MockClock) -> None:
    """The outside event came twice and waits once for the next state. Patience concerns only its own state."""

    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(4)
        return "agreed"

    outside = Recording(SessionChart(start_value="handshaking"), {"handshaking": stubborn})
    await outside.post((2, "reset"), (3, "reset"), (10, END))
    assert outside.events() == ["agreed", "reset"]
    assert outside.runner.statistics().ignored == 0
    patience = Recording(SessionChart(start_value="handshaking"), {"handshaking": stubborn}, {"handshaking": 2})
    await patience.post((10, END))
    assert patience.events() == ["agreed"]


async def test_a_cancelled_run_leaves_nothing(autojump_clock: MockClock) -> None:
    """No task, no move, no change of state: only what the activity's own `finally` did."""
    ended: list[float] = []

    async def punch() -> str:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(recording.now())
        raise AssertionError

    recording = Recording(punching(), {"punching": punch}, {"punching": 10})
    before = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(4) as scope:
        await recording.run()
    assert scope.cancelled_caught
    assert ended == [4]
    assert trio.lowlevel.current_statistics().tasks_living == before
    await trio.sleep(100)
    assert (recording.moves, recording.runner.state) == ([], "punching")


async def test_a_run_that_is_cancelled_before_it_begins_takes_no_step(autojump_clock: MockClock) -> None:
    """Not even for an event that waits already."""
    recording = Recording(punching())
    recording.runner.post("peer_left")
    with trio.CancelScope() as scope:
        scope.cancel()
        await recording.run()
    assert (recording.moves, recording.runner.state) == ([], "punching")


async def test_a_run_that_never_rests_can_still_be_cancelled(autojump_clock: MockClock) -> None:
    """An activity that returns at once, for ever: each stay is a checkpoint."""

    async def agreed() -> str:
        if len(recording.moves) == 50:
            scope.cancel()
        return "agreed"

    recording = Recording(SessionChart(start_value="established"), {"established": agreed})
    with trio.CancelScope() as scope:
        await recording.run()
    assert scope.cancelled_caught
    assert 50 <= len(recording.moves) <= 52


# Coincidences: each in both orders that Trio's scheduler could choose

SCHEDULES = range(12)


def in_every_order(run_of: Callable[[], Awaitable[Recording]]) -> set[tuple[Move, ...]]:
    """Run the same under many seeded schedules. Returns the set of what happened."""
    seen = set()
    for seed in SCHEDULES:
        trio._core._run._r.seed(seed)  # Trio runs each batch of ready tasks forwards or backwards, as this decides
        seen.add(tuple(trio.run(run_of, clock=MockClock(autojump_threshold=0)).moves))
    return seen


def test_an_event_from_outside_in_the_tick_in_which_patience_ends_is_not_lost() -> None:
    """It goes before patience: both sides punch, and neither gives up."""

    async def live() -> Recording:
        recording = Recording(
            PeerConnectionChart(start_value="requested"),
            patience={"requested": 12},
            facts={"relay": True, "direct_allowed": True},
        )
        await recording.post((12, "introduced"), (13, "close"))
        return recording

    assert in_every_order(live) == {
        ((12, "requested", "introduced", "punching"), (13, "punching", "close", "closed")),
    }


def test_an_activity_that_returns_in_the_tick_of_an_outside_event_loses_neither() -> None:
    """The path was found before the peer left: both count, in this order and never in the other."""

    async def live() -> Recording:
        recording = Recording(punching(), {"punching": after(3, "path_verified")})
        await recording.post((3, "peer_left"), (5, "close"))
        return recording

    assert in_every_order(live) == {
        (
            (3, "punching", "path_verified", "connected"),
            (3, "connected", "peer_left", "announced"),
            (5, "announced", "close", "closed"),
        )
    }


def test_an_activity_that_returns_in_the_tick_in_which_its_patience_ends_counts() -> None:
    """It found a path at the last moment."""

    async def live() -> Recording:
        recording = Recording(punching(), {"punching": after(10, "path_verified")}, {"punching": 10}, {"relay": True})
        await recording.post((11, "close"))
        return recording

    assert in_every_order(live) == {
        ((10, "punching", "path_verified", "connected"), (11, "connected", "close", "closed")),
    }


def test_all_three_at_once_count_in_the_order_activity_outside_patience() -> None:
    """The outside event waits for the next state. Patience was that of a state that is over."""

    async def live() -> Recording:
        recording = Recording(
            PeerConnectionChart(start_value="requested"),
            {"requested": after(12, "peer_info_timeout")},
            {"requested": 12},
            {"relay": True, "direct_allowed": True},
        )
        await recording.post((12, "introduced"), (13, "close"))
        return recording

    assert in_every_order(live) == {
        (
            (12, "requested", "peer_info_timeout", "relayed"),
            (12, "relayed", "introduced", "punching"),
            (13, "punching", "close", "closed"),
        )
    }


def test_close_in_the_tick_of_anything_else_still_closes() -> None:
    """The owner waits for it."""

    async def live() -> Recording:
        recording = Recording(punching(), {"punching": after(2, "path_verified")}, {"punching": 2}, {"relay": True})
        await recording.post((2, "close"))
        return recording

    for moves in in_every_order(live):
        assert moves[-1][2:] == ("close", "closed")
        assert moves[-1][0] == 2


# Facts


async def test_facts_are_asked_when_the_decision_is_made(autojump_clock: MockClock) -> None:
    """The relay was lost after punching began. What counts is that it does not carry when patience ends."""
    recording = Recording(punching(), patience={"punching": 10}, facts={"relay": True})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recording.post, (20, "close"))
        await trio.sleep(9)
        recording.facts["relay"] = False
    assert recording.moves[0] == (10, "punching", "patience_ended", "announced")


def test_facts_that_change_after_a_decision_do_not_undo_it() -> None:
    """An activity whose event was enabled when it returned is right, whatever becomes true meanwhile."""

    async def live() -> Recording:
        async def forbid() -> None:
            recording.facts["direct_allowed"] = False

        async def upgrade() -> str:
            await trio.sleep(2)
            outside.start_soon(forbid)  # it runs before or after the loop looks
            return "introduced"

        recording = Recording(
            PeerConnectionChart(start_value="relayed"), {"relayed": upgrade}, facts={"direct_allowed": True}
        )
        async with trio.open_nursery() as outside:
            await recording.post((10, "close"))
        return recording

    assert in_every_order(live) == {
        ((2, "relayed", "introduced", "punching"), (10, "punching", "close", "closed")),
    }


async def test_a_guard_decides_whether_an_outside_event_is_taken(autojump_clock: MockClock) -> None:
    """The same event is forgotten while no direct path is allowed, and taken once it is."""
    recording = Recording(PeerConnectionChart(start_value="relayed"), facts={"direct_allowed": False})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recording.post, (1, "introduced"), (3, "introduced"), (5, "close"))
        await trio.sleep(2)
        recording.facts["direct_allowed"] = True
    assert recording.moves[0] == (3, "relayed", "introduced", "punching")
    assert recording.runner.statistics().ignored == 1


# Bugs show


async def test_what_an_activity_raises_leaves_the_run_unchanged(autojump_clock: MockClock) -> None:
    """Not in a group: the owner catches it by its type."""

    async def punch() -> str:
        await trio.sleep(1)
        raise ZeroDivisionError("a bug")

    recording = Recording(punching(), {"punching": punch})
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await recording.run()
    assert recording.moves == []


async def test_what_a_cleanup_raises_is_not_swallowed(autojump_clock: MockClock) -> None:
    """The state was being left, or the whole run cancelled: an error is an error."""

    async def punch() -> str:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError("a bug")

    recording = Recording(punching(), {"punching": punch})
    with pytest.RaisesGroup(ZeroDivisionError):
        await recording.post((1, "close"))
    cancelled = Recording(punching(), {"punching": punch})
    with pytest.raises(ZeroDivisionError), trio.move_on_after(1):
        await cancelled.run()


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("path_lost", "the activity of punching may not return 'path_lost'"),
        ("nonsense", "the activity of punching may not return 'nonsense'"),
        ("close", "the activity of punching may not return 'close'"),
        (PATIENCE_ENDED, "the activity of punching may not return 'patience_ended'"),
    ],
)
async def test_an_event_that_its_state_does_not_declare_is_a_bug(
    autojump_clock: MockClock, event: str, message: str
) -> None:
    """Enabled or not: readers and the proof rely on the table."""
    recording = Recording(punching(), {"punching": after(1, event)})
    with pytest.raises(LocalProtocolError, match=message):
        await recording.run()
    assert recording.runner.state == "punching"


async def test_an_event_that_its_guards_forbid_is_a_bug(autojump_clock: MockClock) -> None:
    """An activity asks before it returns. The message says which facts held."""
    recording = Recording(
        PeerConnectionChart(start_value="relayed"),
        {"relayed": after(1, "introduced")},
        facts={"relay": True, "direct_allowed": False},
    )
    with pytest.raises(LocalProtocolError, match=r"'introduced' is not enabled in relayed .* holds: relay$"):
        await recording.run()


async def test_a_fact_that_no_guard_asks_for_is_a_bug(autojump_clock: MockClock) -> None:
    """It was misspelled, and the guard would have used its default."""
    recording = Recording(punching(), {"punching": after(1, "path_verified")}, facts={"realy": True})
    with pytest.raises(LocalProtocolError, match="PeerConnectionChart asks for no such facts: realy"):
        await recording.run()


@pytest.mark.parametrize("moment", ["patience", "outside", "before"])
async def test_what_the_facts_raise_leaves_the_run_unchanged(autojump_clock: MockClock, moment: str) -> None:
    """At each moment of a decision."""

    def broken() -> Mapping[str, bool]:
        raise ZeroDivisionError

    runner = StateRunner(
        punching(), {}, patience=lambda _state: 2 if moment == "patience" else math.inf, facts=broken, on_move=print
    )
    if moment == "before":
        runner.post("close")
    async with trio.open_nursery() as nursery:
        if moment == "outside":
            nursery.start_soon(post_after, runner, 1, "close")
        with pytest.raises(ZeroDivisionError):
            await runner.run()


async def post_after(runner: StateRunner, seconds: float, event: str) -> None:
    await trio.sleep(seconds)
    runner.post(event)


def test_an_activity_for_a_state_that_does_not_exist_is_a_bug() -> None:
    """It was misspelled, and would never have run."""
    with pytest.raises(LocalProtocolError, match="PeerConnectionChart has no such states: pnuching"):
        StateRunner(punching(), {"pnuching": after(1, "x")}, patience=lambda _: 1, facts=dict, on_move=print)


@pytest.mark.parametrize("event", ["intorduced", "wanted", PATIENCE_ENDED, ""])
async def test_posting_what_the_chart_never_takes_from_outside_is_a_bug(event: str) -> None:
    """A misspelled event would always be ignored, and patience belongs to the runner alone."""
    with pytest.raises(LocalProtocolError, match="is no event that PeerConnectionChart takes from outside"):
        Recording(punching()).runner.post(event)


async def test_a_message_may_be_sent_only_where_the_chart_says_so(autojump_clock: MockClock) -> None:
    """Checked while the program runs, by the table that the proof reads."""
    recording = Recording(punching())
    recording.runner.check_send("probe")
    with pytest.raises(LocalProtocolError, match="PeerConnectionChart sends no 'announce' while punching"):
        recording.runner.check_send("announce")
    await recording.post((1, "close"))
    with pytest.raises(LocalProtocolError, match="sends no 'probe' while closed"):
        recording.runner.check_send("probe")


async def test_after_the_end_everything_is_ignored(autojump_clock: MockClock) -> None:
    """Whoever posts need not know that the run is over."""
    recording = Recording(punching())
    recording.runner.post("close")
    recording.runner.post("peer_left")
    await recording.run()
    recording.runner.post("peer_left")
    assert recording.runner.state == "closed"
    assert recording.runner.statistics() == StateRunnerStatistics(moves=1, ignored=2, patience_unused=0)


# Random runs


@pytest.mark.parametrize("name", CHARTS)
def test_random_runs_are_legal_and_nothing_outlives_its_state(name: str) -> None:
    """Times are few and coarse, so that nearly everything coincides with something. Facts change at random."""
    arrows = {(arrow.source, arrow.event, arrow.target) for arrow in CHARTS[name].transitions()}
    for seed in range(12):
        trio._core._run._r.seed(seed)
        moves = trio.run(random_run, CHARTS[name], random.Random(seed), clock=MockClock(autojump_threshold=0))
        assert {move[1:] for move in moves} <= arrows
        assert all(earlier[3] == later[1] for earlier, later in itertools.pairwise(moves))
        if any(state.final for state in CHARTS[name].states):
            assert CHARTS[name].states_map[moves[-1][3]].final


async def random_run(chart_class: type[Chart], chance: random.Random) -> list[Move]:
    alive: list[str] = []
    posted = 0

    def act_in(state: str) -> Activity:
        async def activity() -> str:
            assert not alive, "one activity at a time"
            alive.append(state)
            try:
                while True:
                    assert recording.runner.state == state
                    await trio.sleep(chance.choice((0, 1, 2)))
                    enabled = [
                        event
                        for event in sorted(recording.chart.events_of[state])
                        if recording.chart.is_enabled(event, recording.facts)
                    ]
                    if enabled and chance.random() < 0.7:
                        return chance.choice(enabled)
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await trio.sleep(chance.choice((0, 0, 1)))
                raise
            finally:
                assert recording.runner.state == state
                alive.remove(state)

        return activity

    chart = chart_class()
    recording = Recording(
        chart,
        {state.id: act_in(state.id) for state in chart_class.states if chance.random() < 0.8},
        {state.id: chance.choice((1, 2, math.inf)) for state in chart_class.states},
        dict.fromkeys(sorted(chart_class.facts), False),
    )
    ends = [arrow.event for arrow in chart_class.transitions() if chart_class.states_map[arrow.target].final]
    outside = [event for event in chart_class.event_names() if event not in {PATIENCE_ENDED, *ends}]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recording.run)
        for _ in range(30 if outside else 0):
            await trio.sleep(chance.choice((0, 1)))
            for fact in recording.facts:
                recording.facts[fact] = chance.random() < 0.5
            recording.runner.post(chance.choice(outside))
            posted += 1
        end = next((event for event in ends if event != PATIENCE_ENDED), None)
        if end is not None:
            recording.runner.post(end)
        else:
            await trio.sleep(3)
            nursery.cancel_scope.cancel()
    assert not alive
    statistics = recording.runner.statistics()
    assert statistics.moves == len(recording.moves)
    assert statistics.ignored <= posted + 1
    return recording.moves
