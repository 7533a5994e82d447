"""What all charts have in common: a strict, synchronous state machine with two tables beside it.

A chart says where a long-lived thing is and where it may go. It knows no clock, no socket and no Trio:
`state_runner.py` runs it. States and events are written as the library requires; beside them each chart declares

- `facts`: the names of the facts that its guards ask for, each a `bool`;
- `events_of`: for each state, the events that the state's activity may return;
- `sends_of`: for each state, the messages that may be sent in it.

A guard is a plain method that takes facts as keyword arguments; a fact that is not given is `False`. Within one state
the guards of one event exclude each other. Charts have no hooks: what happens in a state is its activity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, TypeAlias

from statemachine import StateMachine

NOTHING: frozenset[str] = frozenset()
PATIENCE_ENDED = "patience_ended"
"""The event of `StateRunner` alone: nobody posts it, and no activity returns it."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One arrow of a chart."""

    source: str
    event: str
    guards: tuple[str, ...]
    """Names of guard methods that must all hold; one that must not hold has a leading `!`."""
    target: str

    @property
    def condition(self) -> str:
        """The guards as text: `relay_carries and not may_go_direct`. Empty where there are none."""
        return " and ".join(guard.replace("!", "not ") for guard in self.guards)


_Question: TypeAlias = tuple[str, str, frozenset[str]]
"""A state, an event, and the facts that hold."""


@dataclass(slots=True)
class _Place:
    """What the library calls the model: the state of a chart. A machine that gets one has no initial state to enter."""

    state: str


class Chart(StateMachine):
    """Base of all charts: an event that is not enabled raises, and so does an error in a guard."""

    enable_self_transition_entries = True  # as in SCXML: a self transition leaves its state and enters it again
    facts: ClassVar[frozenset[str]] = NOTHING
    events_of: ClassVar[Mapping[str, frozenset[str]]] = {}
    sends_of: ClassVar[Mapping[str, frozenset[str]]] = {}
    _targets: ClassVar[dict[_Question, str | None]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._targets = {}

    def __init__(self, start_value: str | None = None) -> None:
        """Does not make the library's machine, of 25 kB: `_library` makes it for each question that is new."""
        self._here = start_value or self._initial()

    @property
    def here(self) -> str:
        """The id of the state that the chart is in."""
        return self._here

    @property
    def is_terminated(self) -> bool:
        """Whether the chart is in a final state."""
        return self.here in self._finals()

    def is_enabled(self, event: str, facts: Mapping[str, bool]) -> bool:
        """Whether the event would take a transition from here, guards included."""
        question = _ask(self.here, event, facts)
        if question not in self._targets and event in self._library().enabled_events(**facts):
            return True
        return self._targets.setdefault(question, None) is not None

    def take(self, event: str, facts: Mapping[str, bool]) -> None:
        """Take the event's transition. Raises statemachine's TransitionNotAllowed where it is not enabled.

        The library makes each move once for each class of charts. Guards are pure and there are no hooks, so it would
        always do the same.
        """
        question = _ask(self.here, event, facts)
        target = self._targets.get(question)
        if target is None:
            library = self._library()
            send: Callable[..., object] = library.send
            send(event, **facts)
            target = self._targets[question] = str(library.current_state_value)
        self._here = target

    def _library(self) -> StateMachine:
        """The library's machine, in this chart's state."""
        machine = object.__new__(type(self))
        StateMachine.__init__(machine, _Place(self.here))
        return machine

    @classmethod
    @cache
    def _initial(cls) -> str:
        return str(next(state.id for state in cls.states if state.initial))

    @classmethod
    @cache
    def _finals(cls) -> frozenset[str]:
        return frozenset(state.id for state in cls.states if state.final)

    @classmethod
    @cache
    def event_names(cls) -> tuple[str, ...]:
        """Every event that some state takes, in the order of declaration."""
        return tuple(str(event) for event in cls._events)

    @classmethod
    def transitions(cls) -> tuple[Transition, ...]:
        """Every arrow: by state, and within a state in the order of declaration."""
        return tuple(
            Transition(state.id, str(event), tuple(str(guard) for guard in arrow.cond), arrow.target.id)
            for state in cls.states
            for arrow in state.transitions
            for event in arrow.events
            if arrow.target is not None
        )


def _ask(state: str, event: str, facts: Mapping[str, bool]) -> _Question:
    return state, event, frozenset(fact for fact, holds in facts.items() if holds)
