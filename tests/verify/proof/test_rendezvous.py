"""The server answers each request, and what it answers is true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunnel.verify.proof import rendezvous
from tunnel.verify.proof.rules import Fault, FaultModel, Rules
from tunnel.verify.proof.side import NO_SERVER, Card, Pair, Seen, Side, Word

KNOWN = Side("requested", "acknowledged", Card.CURRENT, is_present=True, is_linked=True, seen=Seen.ANNOUNCED)
SILENT = KNOWN._replace(announcement="announcing", seen=Seen.SILENT)
GONE = Side("announced", "surveying")


def asking(other: Side, mine: Side = KNOWN) -> Pair:
    return Pair(mine._replace(is_asking=True), other)


def test_two_who_have_announced_are_introduced_at_once(quiet: Rules) -> None:
    (pair,) = rendezvous.hear_connect(quiet, asking(KNOWN), 0)
    assert (pair.a.told, pair.b.told, pair.askers) == ((Word.INTRODUCED,), (Word.INTRODUCED,), 0)


def test_an_absent_peer_is_refused(quiet: Rules) -> None:
    (pair,) = rendezvous.hear_connect(quiet, asking(GONE), 0)
    assert (pair.a.told, pair.askers) == ((Word.REFUSED,), 0)


def test_a_silent_peer_is_waited_for(quiet: Rules) -> None:
    (pair,) = rendezvous.hear_connect(quiet, asking(SILENT), 0)
    assert (pair.a.told, pair.askers) == ((), 1)
    assert not rendezvous.is_decided(pair)
    (answered,) = rendezvous.lose_patience(quiet, pair)
    assert (answered.a.told, answered.b.told, answered.askers) == ((Word.TIMED_OUT,), (), 0)


def test_both_who_asked_are_answered(quiet: Rules) -> None:
    (pair,) = rendezvous.lose_patience(quiet, Pair(SILENT, KNOWN, 3))
    assert pair.a.told == pair.b.told == (Word.TIMED_OUT,)


def test_who_waits_is_introduced_or_refused_as_soon_as_that_is_known(quiet: Rules) -> None:
    (introduced,) = rendezvous.decide(quiet, Pair(KNOWN, KNOWN, 2))
    assert introduced.a.told == introduced.b.told == (Word.INTRODUCED,)
    (refused,) = rendezvous.decide(quiet, Pair(GONE, KNOWN, 2))
    assert refused.b.told == (Word.REFUSED,)


def test_an_untrue_answer_is_a_fault(quiet: Rules) -> None:
    arrows = tuple(replace(arrow, target="introduced") for arrow in quiet.introduction.arrows)
    rules = Rules(quiet.charts._replace(introduction=quiet.introduction.having(arrows=arrows)), quiet.fault_model)
    with pytest.raises(Fault, match="ends as introduced, which is not true"):
        list(rendezvous.lose_patience(rules, Pair(SILENT, KNOWN, 2)))


def test_a_request_without_pending_is_a_fault(quiet: Rules) -> None:
    nothing = {state: frozenset[str]() for state in quiet.introduction.states}
    rules = Rules(quiet.charts._replace(introduction=quiet.introduction.having(sends_of=nothing)), quiet.fault_model)
    with pytest.raises(Fault, match="not answered by pending"):
        list(rendezvous.hear_connect(rules, asking(SILENT), 0))


def test_a_later_word_on_a_peer_takes_the_place_of_an_earlier_one(quiet: Rules) -> None:
    told = rendezvous.tell(quiet, KNOWN._replace(told=(Word.UP,)), Word.DOWN_LOST)
    assert told is not None
    assert told.told == (Word.DOWN_LOST,)


def test_without_room_the_server_waits(quiet: Rules) -> None:
    full = KNOWN._replace(told=(Word.UP,))
    assert rendezvous.tell(quiet, full, Word.INTRODUCED) is None
    assert list(rendezvous.hear_connect(quiet, asking(full), 0)) == []
    roomy = rendezvous.tell(Rules(quiet.charts, FaultModel("two words", room=2)), full, Word.INTRODUCED)
    assert roomy is not None
    assert roomy.told == (Word.UP, Word.INTRODUCED)


def test_a_new_link_hears_who_is_up(quiet: Rules) -> None:
    (pair,) = rendezvous.admit(quiet, Pair(GONE, KNOWN), 0)
    assert (pair.a.told, pair.a.seen, pair.a.announcement) == ((Word.UP,), Seen.SILENT, "announcing")
    (pair,) = rendezvous.admit(quiet, Pair(GONE, KNOWN._replace(seen=Seen.OLD)), 0)
    assert pair.a.told == (Word.UP_OLD,)


def test_an_announcement_is_acknowledged_and_passed_on(quiet: Rules) -> None:
    (pair,) = rendezvous.hear_announce(quiet, Pair(SILENT, KNOWN), 0)
    assert (pair.a.told, pair.b.told, pair.a.seen) == ((Word.ACK,), (Word.UP,), Seen.ANNOUNCED)


def test_the_peer_hears_of_a_missed_link(quiet: Rules) -> None:
    (pair,) = rendezvous.miss(quiet, Pair(KNOWN._replace(is_linked=False), KNOWN), 0)
    assert (pair.a.seen, pair.b.told) == (Seen.ABSENT, (Word.DOWN_LOST,))


def test_a_server_that_stops_knows_nothing(quiet: Rules) -> None:
    (pair,) = rendezvous.stop(quiet, Pair(KNOWN, SILENT, 1))
    assert pair.askers == NO_SERVER
    assert {(side.seen, side.is_linked, side.announcement) for side in (pair.a, pair.b)} == {
        (Seen.ABSENT, False, "surveying")
    }
