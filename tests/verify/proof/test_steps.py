"""Which steps there are, who takes them, and which go first."""

from __future__ import annotations

from tunnel.verify.proof import node
from tunnel.verify.proof.rules import FaultModel, Rules
from tunnel.verify.proof.side import NO_SERVER, Card, Message, Pair, Seen, Side
from tunnel.verify.proof.steps import NODES, SERVER, Action, Pace, Step, Stepper

HELD = Side("announced", "acknowledged", Card.CURRENT, is_present=True, is_linked=True, seen=Seen.ANNOUNCED)


def steps(rules: Rules, pair: Pair) -> list[Step]:
    return Stepper(rules).steps(pair)[0]


def texts(found: list[Step], pace: Pace | None = None) -> set[str]:
    return {step.action.text for step in found if pace is None or step.pace is pace}


def test_two_that_begin_can_only_register(quiet: Rules) -> None:
    found = steps(quiet, Pair(node.begin(quiet), node.begin(quiet)))
    assert [step.action for step in found] == [Action(NODES[0], SERVER, "hello"), Action(NODES[1], SERVER, "hello")]


def test_what_a_node_does_at_once_goes_first(quiet: Rules) -> None:
    proved = HELD._replace(peer="punching", is_proved=True, in_flight=(Message.UP,))
    found, is_urgent = Stepper(quiet).steps(Pair(proved, HELD))
    assert is_urgent
    assert texts(found) == {"path_verified: the path is proved"}


def test_an_application_that_still_wants_the_peer_has_a_pace_of_its_own(quiet: Rules) -> None:
    found = steps(quiet, Pair(HELD, HELD))
    assert {step.pace for step in found if step.action.text.startswith("peer_wanted")} == {Pace.WANTED_A, Pace.WANTED_B}
    lonely = HELD._replace(is_linked=False)
    found = steps(quiet, Pair(lonely, lonely, NO_SERVER))
    assert {step.pace for step in found if step.action.text.startswith("introduced")} == {Pace.BLIND_A, Pace.BLIND_B}


def test_a_path_is_lost_only_where_it_is_broken(quiet: Rules) -> None:
    connected = HELD._replace(peer="connected", is_proved=True)
    lost = [step for step in steps(quiet, Pair(connected, connected)) if step.action.text.startswith("path_lost")]
    assert [step.on_broken_path for step in lost] == [True, True]
    stranger = connected._replace(card=Card.OLD)
    lost = [step for step in steps(quiet, Pair(connected, stranger)) if step.action.text.startswith("path_lost")]
    assert [step.on_broken_path for step in lost] == [False, False]


def test_a_fault_model_has_only_the_faults_that_it_names(quiet: Rules) -> None:
    assert texts(steps(quiet, Pair(HELD, HELD)), Pace.FAULT) == set()
    harsh = FaultModel("harsh", is_restarting=True, is_moving=True, is_link_breaking=True, is_server_stopping=True)
    assert texts(steps(Rules(quiet.charts, harsh), Pair(HELD, HELD)), Pace.FAULT) == {
        "its link to the server breaks",
        "its addresses change",
        "its process is killed and starts again",
        "its process says farewell and starts again",
        "stops",
    }


def test_a_restart_makes_what_others_know_old(quiet: Rules) -> None:
    rules = Rules(quiet.charts, FaultModel("restarts", is_restarting=True))
    pair = Pair(HELD, HELD._replace(in_flight=(Message.INTRODUCED,)))
    killed = next(step for step in steps(rules, pair) if "killed" in step.action.text and step.action.actor == NODES[0])
    assert killed.forgets_probes
    assert killed.pair is not None
    assert (killed.pair.a, killed.pair.a.seen) == (node.begin(rules, Seen.OLD), Seen.OLD)
    assert (killed.pair.b.card, killed.pair.b.in_flight) == (Card.OLD, (Message.INTRODUCED_OLD,))


def test_a_chart_that_does_not_close_is_a_fault(quiet: Rules) -> None:
    arrows = tuple(arrow for arrow in quiet.peer.arrows if arrow.event != "close")
    charts = quiet.charts._replace(peer=quiet.peer.having(arrows=arrows))
    found = steps(Rules(charts, FaultModel("restarts", is_restarting=True)), Pair(HELD, HELD))
    assert "the peer_connection does not close in announced" in {step.fault for step in found}


def test_an_action_and_a_pace_have_mirror_images() -> None:
    assert Action("node A", SERVER, "connect").mirrored == Action("node B", SERVER, "connect")
    assert [pace.mirrored for pace in (Pace.WANTED_A, Pace.BLIND_B, Pace.SLOW)] == [
        Pace.WANTED_B,
        Pace.BLIND_A,
        Pace.SLOW,
    ]
