"""What every chart has in common: a strict, synchronous state machine with two tables beside it.

A chart says where a long-lived thing is and where it may go. It knows no clock, no socket and no Trio: `live.py` lives
through it. States and events are written as the library wants them; beside them each chart declares

- `facts`: the names of the truths that its guards ask for, each a `bool`;
- `events_of`: for each state, the events that the state's activity may return;
- `sends_of`: for each state, the messages that may be sent in it.

A guard is a plain method that takes facts as keyword arguments, `False` where nobody said otherwise. Within one state
the guards of one event exclude each other. Charts have no hooks: what happens in a state is its activity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from statemachine import StateMachine

NOTHING: frozenset[str] = frozenset()
PATIENCE_ENDED = "patience_ended"
"""The event of the live loop alone: nobody posts it, no activity returns it."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One arrow of a chart."""

    source: str
    event: str
    guards: tuple[str, ...]
    """Names of guard methods that must all hold; one that must not hold has a `!` before it."""
    target: str

    @property
    def condition(self) -> str:
        """The guards as words: `relay_carries and not may_go_direct`. Empty where nothing is asked."""
        return " and ".join(guard.replace("!", "not ") for guard in self.guards)


class Chart(StateMachine):
    """Base of all charts: an event that is not legal here raises, and so does an error in a guard."""

    enable_self_transition_entries = True  # as SCXML says: a self transition leaves its state and enters it again
    facts: ClassVar[frozenset[str]] = NOTHING
    events_of: ClassVar[Mapping[str, frozenset[str]]] = {}
    sends_of: ClassVar[Mapping[str, frozenset[str]]] = {}
    _answers: ClassVar[dict[tuple[str, str, frozenset[str]], bool]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._answers = {}

    @property
    def here(self) -> str:
        """The id of the state that the chart is in."""
        return str(self.current_state_value)

    def is_enabled(self, event: str, facts: Mapping[str, bool]) -> bool:
        """Whether the event would take a transition from here, its guards included.

        Guards are pure and facts few: each question is answered by the library once, and remembered for the class.
        """
        question = self.here, event, frozenset(fact for fact, holds in facts.items() if holds)
        answer = self._answers.get(question)
        if answer is None:
            answer = self._answers[question] = event in self.enabled_events(**facts)
        return answer

    def take(self, event: str, facts: Mapping[str, bool]) -> None:
        """Take the event's transition. Raises statemachine's TransitionNotAllowed where it is not enabled."""
        send: Callable[..., object] = self.send
        send(event, **facts)

    @classmethod
    def event_names(cls) -> tuple[str, ...]:
        """Every event that some state takes, in the order of the declarations."""
        return tuple(str(event) for event in cls._events)

    @classmethod
    def transitions(cls) -> tuple[Transition, ...]:
        """Every arrow, in the order of the states and, within a state, of the declarations."""
        return tuple(
            Transition(state.id, str(event), tuple(str(guard) for guard in arrow.cond), arrow.target.id)
            for state in cls.states
            for arrow in state.transitions
            for event in arrow.events
            if arrow.target is not None
        )
