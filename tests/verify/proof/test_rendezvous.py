"""The server answers each request, and what it answers is true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunnel.verify.proof import rendezvous
from tunnel.verify.proof.rules import Fault, FaultModel, Rules
from tunnel.verify.proof.side import NO_SERVER, Card, Message, Pair, Seen, Side

KNOWN = Side("requested", "acknowledged", Card.CURRENT, is_present=True, is_linked=True, seen=Seen.ANNOUNCED)
SILENT = KNOWN._replace(announcement="announcing", seen=Seen.SILENT)
GONE = Side("announced", "surveying")


def asking(other: Side, mine: Side = KNOWN) -> Pair:
    return Pair(mine._replace(is_asking=True), other)


def test_two_who_have_announced_are_introduced_at_once(quiet: Rules) -> None:
    (pair,) = rendezvous.receive_connect(quiet, asking(KNOWN), 0)
    assert (pair.a.in_flight, pair.b.in_flight, pair.askers) == ((Message.INTRODUCED,), (Message.INTRODUCED,), 0)


def test_an_absent_peer_is_refused(quiet: Rules) -> None:
    (pair,) = rendezvous.receive_connect(quiet, asking(GONE), 0)
    assert (pair.a.in_flight, pair.askers) == ((Message.REFUSED,), 0)


def test_a_silent_peer_is_waited_for(quiet: Rules) -> None:
    (pair,) = rendezvous.receive_connect(quiet, asking(SILENT), 0)
    assert (pair.a.in_flight, pair.askers) == ((), 1)
    assert not rendezvous.is_decided(pair)
    (answered,) = rendezvous.lose_patience(quiet, pair)
    assert (answered.a.in_flight, answered.b.in_flight, answered.askers) == ((Message.TIMED_OUT,), (), 0)


def test_both_who_asked_are_answered(quiet: Rules) -> None:
    (pair,) = rendezvous.lose_patience(quiet, Pair(SILENT, KNOWN, 3))
    assert pair.a.in_flight == pair.b.in_flight == (Message.TIMED_OUT,)


def test_who_waits_is_introduced_or_refused_as_soon_as_that_is_known(quiet: Rules) -> None:
    (introduced,) = rendezvous.decide(quiet, Pair(KNOWN, KNOWN, 2))
    assert introduced.a.in_flight == introduced.b.in_flight == (Message.INTRODUCED,)
    (refused,) = rendezvous.decide(quiet, Pair(GONE, KNOWN, 2))
    assert refused.b.in_flight == (Message.REFUSED,)


def test_an_untrue_answer_is_a_fault(quiet: Rules) -> None:
    arrows = tuple(replace(arrow, target="introduced") for arrow in quiet.introduction.arrows)
    rules = Rules(quiet.charts._replace(introduction=quiet.introduction.having(arrows=arrows)), quiet.fault_model)
    with pytest.raises(Fault, match="ends as introduced, which is not true"):
        list(rendezvous.lose_patience(rules, Pair(SILENT, KNOWN, 2)))


def test_a_request_without_pending_is_a_fault(quiet: Rules) -> None:
    nothing = {state: frozenset[str]() for state in quiet.introduction.states}
    rules = Rules(quiet.charts._replace(introduction=quiet.introduction.having(sends_of=nothing)), quiet.fault_model)
    with pytest.raises(Fault, match="not answered by pending"):
        list(rendezvous.receive_connect(rules, asking(SILENT), 0))


def test_a_later_message_about_a_peer_replaces_an_earlier_one(quiet: Rules) -> None:
    side = rendezvous.send(quiet, KNOWN._replace(in_flight=(Message.UP,)), Message.DOWN_LOST)
    assert side is not None
    assert side.in_flight == (Message.DOWN_LOST,)


def test_without_room_the_server_waits(quiet: Rules) -> None:
    full = KNOWN._replace(in_flight=(Message.UP,))
    assert rendezvous.send(quiet, full, Message.INTRODUCED) is None
    assert list(rendezvous.receive_connect(quiet, asking(full), 0)) == []
    roomy = rendezvous.send(Rules(quiet.charts, FaultModel("two words", room=2)), full, Message.INTRODUCED)
    assert roomy is not None
    assert roomy.in_flight == (Message.UP, Message.INTRODUCED)


def test_a_new_link_hears_who_is_up(quiet: Rules) -> None:
    (pair,) = rendezvous.admit(quiet, Pair(GONE, KNOWN), 0)
    assert (pair.a.in_flight, pair.a.seen, pair.a.announcement) == ((Message.UP,), Seen.SILENT, "announcing")
    (pair,) = rendezvous.admit(quiet, Pair(GONE, KNOWN._replace(seen=Seen.OLD)), 0)
    assert pair.a.in_flight == (Message.UP_OLD,)


def test_an_announcement_is_acknowledged_and_passed_on(quiet: Rules) -> None:
    (pair,) = rendezvous.receive_announce(quiet, Pair(SILENT, KNOWN), 0)
    assert (pair.a.in_flight, pair.b.in_flight, pair.a.seen) == ((Message.ACK,), (Message.UP,), Seen.ANNOUNCED)


def test_the_peer_hears_of_a_missed_link(quiet: Rules) -> None:
    (pair,) = rendezvous.miss(quiet, Pair(KNOWN._replace(is_linked=False), KNOWN), 0)
    assert (pair.a.seen, pair.b.in_flight) == (Seen.ABSENT, (Message.DOWN_LOST,))


def test_a_server_that_stops_knows_nothing(quiet: Rules) -> None:
    (pair,) = rendezvous.stop(quiet, Pair(KNOWN, SILENT, 1))
    assert pair.askers == NO_SERVER
    assert {(side.seen, side.is_linked, side.announcement) for side in (pair.a, pair.b)} == {
        (Seen.ABSENT, False, "surveying")
    }
