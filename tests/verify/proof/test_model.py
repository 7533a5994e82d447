"""States as numbers say the same as the pairs and paths that they stand for."""

from __future__ import annotations

from tunnel.verify.proof.model import MIRRORING, Model, fault_of
from tunnel.verify.proof.path import BOTH_WAYS, SIZE
from tunnel.verify.proof.rules import Charts, FaultModel, Rules
from tunnel.verify.proof.side import Card, Pair, Seen, Side
from tunnel.verify.proof.steps import Stepper

HELD = Side("announced", "acknowledged", Card.CURRENT, is_present=True, is_linked=True, seen=Seen.ANNOUNCED)


def test_a_state_and_its_mirror_image_are_one(quiet: Rules) -> None:
    """Either node may register first: one state, reached with and without an exchange of names."""
    model = Model(quiet)
    kinds = {kind & MIRRORING: target for kind, target in model.successors(model.start)}
    assert set(kinds) == {0, MIRRORING}
    assert len(set(kinds.values())) == 1


def test_numbered_states_take_the_steps_of_their_pairs(quiet: Rules) -> None:
    """Every state of the quiet fault model: the steps of its pair, and none is lost or made up by numbering."""
    model, stepper = Model(quiet), Stepper(quiet)
    seen, waiting = {model.start}, [model.start]
    while waiting:
        state = waiting.pop()
        pair = model.pairs[state // SIZE]
        is_whole = state & BOTH_WAYS == BOTH_WAYS
        steps, _ = stepper.steps(pair)
        expected = {(step.action, step.pair) for step in steps if not (step.on_broken_path and is_whole)}
        arrows = model.arrows(state)
        for arrow in arrows:
            target = model.pairs[arrow.target // SIZE]
            seen_by_reader = target.swapped if arrow.is_mirrored else target
            expected.discard((arrow.action, seen_by_reader))
            if arrow.target not in seen:
                seen.add(arrow.target)
                waiting.append(arrow.target)
        assert not expected
        assert [arrow.target for arrow in arrows] == [target for _, target in model.successors(state)]
    assert len(seen) > 1000


def test_a_world_without_a_path_begins_without_one(charts: Charts) -> None:
    assert Model(Rules(charts, FaultModel("cut", has_path=False))).start & BOTH_WAYS == 0


def test_what_is_wrong_with_a_pair_as_it_stands() -> None:
    assert fault_of(Pair(HELD, HELD)) == ""
    assert "proof of the path is void" in fault_of(Pair(HELD._replace(peer="connected"), HELD))
    assert "holds no announcement" in fault_of(Pair(HELD, HELD._replace(seen=Seen.SILENT)))
