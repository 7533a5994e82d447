"""A state is a cancel scope: the one small Trio loop that runs every chart.

    chart     where we are and where we may go
    activity  what we do here; it returns its event
    patience  for how long we stay

Entering a state opens its nursery, and leaving it cancels everything in it. So nothing outlives its state, and there is
no stale timer or result. A state is left by the first of three:

1. its activity returns: the event must be declared by the state and enabled, else this is a bug of ours;
2. an event comes from outside: one that is not enabled here is counted and forgotten. Facts are kept values, and an
   event only says that one has changed: the next state's activity reads the fact;
3. its patience ends: where that is no event of the state, the state continues without patience.

If they coincide, an activity that has returned goes before the outside, and the outside before patience. An event from
outside that was not used waits for the next state, so none is lost. Facts are asked at the moment of the decision, and
the transition is taken with these same facts.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import trio

from tunnel.machines.chart import PATIENCE_ENDED, Chart
from tunnel.machines.trace_hook import TRACE_HOOK
from tunnel.model.errors import LocalProtocolError

__all__ = ["PATIENCE_ENDED", "Activity", "StateRunner", "StateRunnerStatistics"]

Activity = Callable[[], Awaitable[str]]
"""What a state does. It returns the name of its event, or runs until its state is left."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StateRunnerStatistics:
    """What has happened to one chart so far."""

    moves: int
    ignored: int
    """Events from outside that were not enabled when they came."""
    patience_unused: int
    """Ends of patience where that was no event of the state."""


@dataclass(frozen=True, slots=True)
class _Decision:
    """The event by which a state is left, and the facts that held when it was chosen."""

    event: str
    facts: Mapping[str, bool]


@dataclass(slots=True)
class _Stay:
    """What the activity came to during one stay in a state."""

    returned: _Decision | None = None
    error: Exception | None = None


class StateRunner:
    """Runs one chart. `run` it in one task; `post` to it from any other; read `state` at any time.

    `about` says whose chart this is, for logs and trace hooks.
    """

    def __init__(
        self,
        chart: Chart,
        activities: Mapping[str, Activity],
        *,
        patience: Callable[[str], float],
        facts: Callable[[], Mapping[str, bool]],
        on_move: Callable[[str, str, str], None],
        about: str = "",
    ) -> None:
        unknown = sorted(set(activities) - set(chart.sends_of))
        if unknown:
            raise LocalProtocolError(f"{chart.name} has no such states: {', '.join(unknown)}")
        self._chart = chart
        self._activities = activities
        self._patience = patience
        self._facts = facts
        self._on_move = on_move
        self._about = about
        self._waiting: list[str] = []
        self._wake = trio.Event()
        self._moves = self._ignored = self._patience_unused = 0

    @property
    def state(self) -> str:
        """The id of the chart's state. It changes when everything that belonged to the last state has ended."""
        return self._chart.here

    def post(self, event: str) -> None:
        """Say from outside that something happened. Never blocks. An event that waits already is not added again.

        So at most one of each of the chart's events waits. Raises LocalProtocolError only for an event that no state
        of the chart takes from outside; one that is not enabled now is counted and forgotten.
        """
        if event == PATIENCE_ENDED or event not in self._chart.event_names():
            raise LocalProtocolError(f"{event!r} is no event that {self._chart.name} takes from outside")
        if self._chart.is_terminated:
            self._ignore(event)
        elif event not in self._waiting:
            self._waiting.append(event)
            self._wake.set()

    def check_send(self, message: str) -> None:
        """Raise LocalProtocolError unless this message may be sent in this state."""
        if message not in self._chart.sends_of[self.state]:
            raise LocalProtocolError(f"{self._chart.name} sends no {message!r} while {self.state}")

    def statistics(self) -> StateRunnerStatistics:
        """Counters since the start."""
        return StateRunnerStatistics(self._moves, self._ignored, self._patience_unused)

    async def run(self) -> None:
        """Run until the chart is final.

        Raises what an activity raises, unchanged, and LocalProtocolError for an event that its state does not declare
        or that is not enabled.
        """
        trace_hook = TRACE_HOOK.get()
        while not self._chart.is_terminated:
            source = self.state
            decision = await self._stay(source)
            self._chart.take(decision.event, decision.facts)
            self._moves += 1
            if trace_hook is not None:
                trace_hook.see_move(self._chart.name, self._about, source, decision.event, decision.facts, self.state)
            self._on_move(source, decision.event, self.state)
        while self._waiting:
            self._ignore(self._waiting.pop(0))

    async def _stay(self, state: str) -> _Decision:
        """Be in one state, until there is a reason to leave it and everything that belonged to it has ended."""
        stay = _Stay()
        decision = self._next_from_outside()
        if decision is None:
            deadline = trio.current_time() + self._patience(state)
            try:
                async with trio.open_nursery() as nursery:
                    if state in self._activities:
                        nursery.start_soon(self._act, self._activities[state], stay)
                    decision = await self._wait_decision(stay, deadline)
                    nursery.cancel_scope.cancel()
            finally:
                if stay.error is not None:
                    raise stay.error
        else:
            await trio.lowlevel.checkpoint()
        if stay.returned is None:
            assert decision is not None
            return decision
        if decision is not None and decision.event not in (PATIENCE_ENDED, *self._waiting):
            self._waiting.insert(0, decision.event)
        return self._check_returned(state, stay.returned)

    async def _act(self, activity: Activity, stay: _Stay) -> None:
        try:
            event = await activity()
            stay.returned = _Decision(event, self._ask_facts())
        except Exception as error:  # kept, so that it leaves `run` as it is and not in a group
            stay.error = error
        self._wake.set()

    async def _wait_decision(self, stay: _Stay, deadline: float) -> _Decision | None:
        """None: the activity has returned, or something has failed. Raises nothing but trio.Cancelled."""
        while True:
            with trio.move_on_at(deadline) as timer:
                await self._wake.wait()
            if timer.cancelled_caught:
                await trio.lowlevel.checkpoint()  # an event of this very tick goes before patience
            self._wake = trio.Event()
            if stay.returned is not None or stay.error is not None:
                return None
            try:
                decision = self._next_from_outside()
                if decision is None and timer.cancelled_caught:
                    deadline = math.inf
                    decision = self._out_of_patience()
            except Exception as error:
                stay.error = error
                return None
            if decision is not None:
                return decision

    def _next_from_outside(self) -> _Decision | None:
        """The first waiting event that is enabled here. Those before it are ignored."""
        while self._waiting:
            decision = _Decision(self._waiting.pop(0), self._ask_facts())
            if self._is_enabled(decision):
                return decision
            self._ignore(decision.event)
        return None

    def _out_of_patience(self) -> _Decision | None:
        decision = _Decision(PATIENCE_ENDED, self._ask_facts())
        if self._is_enabled(decision):
            return decision
        self._patience_unused += 1
        _log.debug("patience unused chart=%s state=%s", self._chart.name, self.state)
        return None

    def _check_returned(self, state: str, returned: _Decision) -> _Decision:
        if returned.event not in self._chart.events_of[state]:
            raise LocalProtocolError(f"{self._chart.name}: the activity of {state} may not return {returned.event!r}")
        if not self._is_enabled(returned):
            holding = ", ".join(sorted(name for name, holds in returned.facts.items() if holds)) or "nothing"
            raise LocalProtocolError(
                f"{self._chart.name}: {returned.event!r} is not enabled in {state} while of its facts holds: {holding}"
            )
        return returned

    def _is_enabled(self, decision: _Decision) -> bool:
        return self._chart.is_enabled(decision.event, decision.facts)

    def _ask_facts(self) -> Mapping[str, bool]:
        facts = dict(self._facts())
        if not self._chart.facts.issuperset(facts):  # the library would drop them silently
            unknown = ", ".join(sorted(set(facts) - self._chart.facts))
            raise LocalProtocolError(f"{self._chart.name} asks for no such facts: {unknown}")
        return facts

    def _ignore(self, event: str) -> None:
        self._ignored += 1
        _log.debug("event ignored chart=%s state=%s event=%s", self._chart.name, self.state, event)
