"""What a node does, and what it may never do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tunnel.verify.proof import node
from tunnel.verify.proof.rules import Fault, FaultModel, Rules
from tunnel.verify.proof.side import Card, Message, Seen, Side

HELD = Side("announced", "acknowledged", Card.CURRENT, is_present=True, is_linked=True, seen=Seen.ANNOUNCED)


def only(sides: Iterator[Side]) -> Side:
    (side,) = sides
    return side


def test_a_request_goes_out_as_its_state_begins(quiet: Rules) -> None:
    asked = only(node.activity_returns(quiet, HELD, "peer_wanted"))
    assert (asked.peer, asked.is_asking) == ("requested", True)


def test_a_punch_without_an_introduction_asks_for_one(quiet: Rules) -> None:
    relayed = HELD._replace(peer="relayed")
    assert only(node.end_patience(quiet, relayed)).is_asking
    introduced = only(node.activity_returns(quiet, relayed._replace(is_introduced=True), "introduced"))
    assert (introduced.peer, introduced.is_asking, introduced.is_introduced) == ("punching", False, False)


def test_an_undeclared_event_is_a_fault(quiet: Rules) -> None:
    """As `StateRunner` says."""
    with pytest.raises(Fault, match="the activity of announced may not return refused"):
        node.activity_returns(quiet, HELD, "refused")


def test_an_event_that_is_not_enabled_is_a_fault(quiet: Rules) -> None:
    arrows = tuple(arrow for arrow in quiet.peer.arrows if arrow.event != "peer_wanted")
    rules = Rules(quiet.charts._replace(peer=quiet.peer.having(arrows=arrows)), quiet.fault_model)
    with pytest.raises(Fault, match="peer_wanted is not enabled in announced"):
        node.activity_returns(rules, HELD, "peer_wanted")


@pytest.mark.parametrize(
    ("event", "to", "start", "fault"),
    [
        ("paths_exhausted", "connected", HELD._replace(peer="punching"), "without a proof"),
        ("paths_exhausted", "announced", HELD._replace(peer="punching"), "passes over a relay"),
        ("paths_exhausted", "relayed", HELD._replace(peer="punching", is_present=False), "relay does not carry"),
        ("paths_exhausted", "punching", HELD._replace(peer="punching"), "spends its budget twice"),
        ("paths_exhausted", "detecting", HELD._replace(peer="punching"), "entered again"),
        ("refused", "requested", HELD._replace(peer="requested"), "nobody wants the peer"),
        ("introduced", "relayed", HELD._replace(is_introduced=True), "brings no punch"),
    ],
)
def test_what_must_be_true_on_entering_a_state(quiet: Rules, event: str, to: str, start: Side, fault: str) -> None:
    arrows = tuple(
        replace(arrow, target=to, guards=()) if (arrow.source, arrow.event) == (start.peer, event) else arrow
        for arrow in quiet.peer.arrows
    )
    first = {(arrow.source, arrow.event): arrow for arrow in reversed(arrows)}
    rules = Rules(quiet.charts._replace(peer=quiet.peer.having(arrows=tuple(first.values()))), quiet.fault_model)
    with pytest.raises(Fault, match=fault):
        list(node.activity_returns(rules, start, event))


def test_no_punch_where_the_policy_forbids_it(quiet: Rules) -> None:
    rules = Rules(quiet.charts, FaultModel("relay only", is_direct_allowed=False))
    arrows = tuple(replace(arrow, guards=()) for arrow in rules.peer.arrows if arrow.event == "patience_ended")
    broken = Rules(rules.charts._replace(peer=rules.peer.having(arrows=arrows[-1:])), rules.fault_model)
    with pytest.raises(Fault, match="the policy forbids"):
        list(node.end_patience(broken, HELD._replace(peer="relayed")))


def test_a_new_process_of_the_peer_voids_the_proof(quiet: Rules) -> None:
    connected = HELD._replace(peer="connected", is_proved=True, card=Card.OLD, in_flight=(Message.UP,))
    met = only(node.receive(quiet, connected))
    assert (met.peer, met.is_proved, met.card) == ("announced", False, Card.CURRENT)


def test_an_acknowledgement_may_have_been_of_an_announcement_without_verdict(quiet: Rules) -> None:
    detecting = Side("detecting", "announcing", is_linked=True, seen=Seen.ANNOUNCED, in_flight=(Message.ACK,))
    assert {side.peer for side in node.receive(quiet, detecting)} == {"detecting", "announced"}


def test_a_refusal_that_nobody_waits_for_changes_nothing(quiet: Rules) -> None:
    assert only(node.receive(quiet, HELD._replace(in_flight=(Message.REFUSED,)))) == HELD


def test_nothing_is_announced_to_nobody(quiet: Rules) -> None:
    with pytest.raises(Fault, match="announces to nobody"):
        node.announce(quiet, Side("announced", "stale"), "patience_ended")


def test_a_broken_link_loses_what_was_in_flight(quiet: Rules) -> None:
    busy = HELD._replace(is_asking=True, in_flight=(Message.UP, Message.ACK), announcement="announcing")
    lost = node.unlink(quiet, busy)
    assert (lost.announcement, lost.is_asking, lost.in_flight, lost.is_linked) == ("surveying", False, (), False)
