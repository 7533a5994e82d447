"""A shortest way to a violation, as a sequence diagram."""

from __future__ import annotations

from itertools import pairwise

from tunnel.machines.sequence import Arrow, SequenceDiagram
from tunnel.verify.proof.explorer import Space
from tunnel.verify.proof.properties import Violation
from tunnel.verify.proof.steps import NODES, SERVER, Action


def actions(space: Space, at: int) -> list[Action]:
    """What happened on the way from the start to this place. The nodes keep the names that they had at the start."""
    places = [at]
    while space.parents[places[-1]] >= 0:
        places.append(space.parents[places[-1]])
    places.reverse()
    found = []
    is_mirrored = False
    for here, there in pairwise(places):
        target = space.states[there]
        arrow = next(arrow for arrow in space.model.arrows(space.states[here]) if arrow.target == target)
        found.append(arrow.action.mirrored if is_mirrored else arrow.action)
        is_mirrored ^= arrow.is_mirrored
    if space.fault and at == space.at:
        last = next(arrow for arrow in space.model.arrows(space.states[at]) if arrow.fault)
        found.append(last.action.mirrored if is_mirrored else last.action)
    return found


def draw(space: Space, violation: Violation) -> str:
    """A Mermaid sequence diagram of the way to the violation, which its last note names."""
    diagram = SequenceDiagram((NODES[0], SERVER, NODES[1]))
    for action in actions(space, violation.at):
        if action.receiver:
            diagram.message(action.actor, action.receiver, action.text, Arrow.LOST if action.is_lost else Arrow.ARRIVES)
        else:
            diagram.note(action.actor, action.text)
    diagram.note((NODES[0], NODES[1]), f"{violation.name}: {violation.what}")
    return diagram.render()
