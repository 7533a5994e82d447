"""Breadth first through every reachable state: so the way back to the start is a shortest one."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

from tunnel.proof.model import Model
from tunnel.proof.steps import Pace


@dataclass
class Space:
    """What was reached. A state's place is the order in which it was met; 0 is the start."""

    model: Model
    states: list[int]
    parents: array[int]
    """The place from which a state was met first; -1 for the start."""
    sources: array[int]
    """Of each step that somebody can be counted on to take; the world's are not kept."""
    targets: array[int]
    paces: bytearray
    steps: int = 0
    """All of them, the world's too."""
    fault: str = ""
    """What went wrong at the place `at`, and nothing was explored after it."""
    at: int = -1


def explore(model: Model, *, limit: int = 0, progress: Callable[[int], None] | None = None) -> Space:
    """Visit every reachable state, or stop at the first step that must not be; `limit` bounds the states (0: none)."""
    space = Space(model, [model.start], array("i", [-1]), array("i"), array("i"), bytearray())
    places = {model.start: 0}
    states, parents = space.states, space.parents
    sources, targets, paces = space.sources, space.targets, space.paces
    uncounted = (Pace.LUCK, Pace.FAULT)
    steps = here = 0
    while here < len(states):
        for pace, target, is_mirrored, _, fault in model.arrows(states[here]):
            steps += 1
            if fault:
                space.fault, space.at, space.steps = fault, here, steps
                return space
            place = places.get(target)
            if place is None:
                place = places[target] = len(states)
                states.append(target)
                parents.append(here)
            if pace < uncounted[0]:
                sources.append(here)
                targets.append(place)
                paces.append(pace | 8 if is_mirrored else pace)
        here += 1
        if progress is not None and here % 10_000 == 0:
            progress(here)
        if limit and here >= limit:
            break
    space.steps = steps
    return space
