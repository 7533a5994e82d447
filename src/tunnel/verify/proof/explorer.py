"""Visits every reachable state, breadth first: so the way back to the start is a shortest one."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from tunnel.verify.proof.model import Model
from tunnel.verify.proof.steps import Pace

PACE_BITS = 7


@dataclass
class Space:
    """What was reached. Places are numbered in the order in which the states were met; 0 is the start."""

    model: Model
    states: list[int]
    parents: array[int]
    """The place from which each state was met first; -1 for the start."""
    sources: array[int]
    """Of each step that is no fault."""
    targets: array[int]
    paces: bytearray
    """The pace, and `MIRRORING` where the step exchanges the nodes' names."""
    steps: int = 0
    """All of them, faults too."""
    fault: str = ""
    """What went wrong in a step out of the place `at`. Nothing was explored after it."""
    at: int = -1


def explore(model: Model) -> Space:
    """Visit every reachable state, or stop at the first step that is forbidden."""
    space = Space(model, [model.start], array("i", [-1]), array("i"), array("i"), bytearray())
    places = {model.start: 0}
    states, parents, successors = space.states, space.parents, model.successors
    new_source, new_target, new_pace = space.sources.append, space.targets.append, space.paces.append
    for here, state in enumerate(states):  # it grows meanwhile
        found = successors(state)
        space.steps += len(found)
        for kind, target in found:
            if target < 0:
                space.fault, space.at = model.fault(state), here
                return space
            place = places.get(target)
            if place is None:
                place = places[target] = len(states)
                states.append(target)
                parents.append(here)
            if kind & PACE_BITS != Pace.FAULT:
                new_source(here)
                new_target(place)
                new_pace(kind)
    return space
