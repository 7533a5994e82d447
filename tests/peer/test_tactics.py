"""Which ways are tried, for how long, and what is said if none answers: a pure function of both announcements."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunnel.model.announcement import Announcement
from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Mapping, NatReport, Udp
from tunnel.model.reasons import ReasonCode
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.model.way import Way
from tunnel.peer.tactics import HOPELESS_PATIENCE, PunchPlan, plan_punch

HARD = NatReport(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, udp=Udp.OPEN)
BLOCKED = NatReport(udp=Udp.BLOCKED)
THEIR4, THEIR6 = Endpoint("25.9.9.9", 7), Endpoint("2001:db8::9", 7)
OWN = Announcement("desk", bytes(32), (), (Candidate(Endpoint("25.1.1.1", 7), CandidateKind.REFLEXIVE),), NatReport())
THEIRS = replace(OWN, name="laptop", candidates=(Candidate(THEIR4, CandidateKind.REFLEXIVE),))
BOTH = ((0, False), (1, True))


def plan(own: Announcement = OWN, theirs: Announcement = THEIRS, known: tuple[Way, ...] = ()) -> PunchPlan:
    return plan_punch(own, theirs, BOTH, DEFAULT_TIMINGS, known)


def with_candidates(*endpoints: Endpoint) -> Announcement:
    return replace(THEIRS, candidates=tuple(Candidate(each, CandidateKind.REFLEXIVE) for each in endpoints))


def test_each_candidate_is_tried_from_the_socket_of_its_family() -> None:
    ours = with_candidates(Endpoint("25.1.1.1", 7), Endpoint("2001:db8::1", 7))
    assert set(plan(ours, with_candidates(THEIR4, THEIR6)).ways) == {Way(0, THEIR4), Way(1, THEIR6)}


def test_a_family_in_which_we_have_no_address_is_not_tried_though_there_is_a_socket_for_it() -> None:
    found = plan(theirs=with_candidates(THEIR6))
    assert found.is_empty
    assert found.otherwise.code is ReasonCode.NO_CANDIDATES
    assert plan(theirs=with_candidates(THEIR6, THEIR4)).ways == (Way(0, THEIR4),)


def test_a_way_that_answered_before_is_tried_too_and_once() -> None:
    elsewhere = Way(0, Endpoint("25.9.9.9", 99))
    assert plan(known=(Way(0, THEIR4), elsewhere)).ways == (Way(0, THEIR4), elsewhere)


@pytest.mark.parametrize("host", ["224.0.0.1", "255.255.255.255", "0.0.0.0", "ff02::1", "::"])
def test_an_endpoint_that_nobody_can_have_is_left_out(host: str) -> None:
    assert plan(theirs=with_candidates(Endpoint(host, 7), Endpoint("25.9.9.9", 0), THEIR4)).ways == (Way(0, THEIR4),)


@pytest.mark.parametrize(
    ("own", "theirs", "code", "patience"),
    [
        ({}, {}, ReasonCode.PROBES_UNANSWERED, DEFAULT_TIMINGS.punch_patience),
        ({"nat": HARD}, {}, ReasonCode.PROBES_UNANSWERED, DEFAULT_TIMINGS.punch_patience),
        ({"nat": HARD}, {"nat": HARD}, ReasonCode.BOTH_HARD_NATS, HOPELESS_PATIENCE),
        ({"nat": BLOCKED}, {}, ReasonCode.UDP_BLOCKED, HOPELESS_PATIENCE),
        ({}, {"nat": BLOCKED}, ReasonCode.UDP_BLOCKED, HOPELESS_PATIENCE),
        ({"nat": BLOCKED}, {"nat": HARD}, ReasonCode.UDP_BLOCKED, HOPELESS_PATIENCE),
        ({"relay_only": True}, {}, ReasonCode.RELAY_ONLY_BY_POLICY, 0.0),
        ({}, {"relay_only": True, "nat": BLOCKED}, ReasonCode.RELAY_ONLY_BY_POLICY, 0.0),
        ({}, {"candidates": ()}, ReasonCode.NO_CANDIDATES, 0.0),
    ],
)
def test_the_reports_decide_the_patience_and_the_reason(
    own: dict[str, object], theirs: dict[str, object], code: ReasonCode, patience: float
) -> None:
    found = plan(replace(OWN, **own), replace(THEIRS, **theirs))  # type: ignore[arg-type]
    assert (found.otherwise.code, found.patience) == (code, patience)
    assert found.is_empty is (patience == 0.0)


@pytest.mark.parametrize("kind", [CandidateKind.DECLARED, CandidateKind.MAPPED])
def test_an_endpoint_that_is_vouched_for_makes_two_hard_nats_worth_the_full_patience(kind: CandidateKind) -> None:
    theirs = replace(THEIRS, nat=HARD, candidates=(Candidate(THEIR4, kind),))
    assert plan(replace(OWN, nat=HARD), theirs).patience == DEFAULT_TIMINGS.punch_patience


LAN, NEIGHBOR, ELSEWHERE = (Endpoint(host, 7) for host in ("192.168.1.31", "192.168.1.12", "192.168.7.12"))


def behind(nat: NatReport, outer: str | None, inner: Endpoint) -> Announcement:
    seen = () if outer is None else (Candidate(Endpoint(outer, 7), CandidateKind.REFLEXIVE),)
    return replace(THEIRS, nat=nat, candidates=(*seen, Candidate(inner, CandidateKind.LAN)))


@pytest.mark.parametrize(
    ("own", "theirs", "is_hopeless"),
    [
        (behind(HARD, "25.1.1.1", LAN), behind(HARD, "25.1.1.1", NEIGHBOR), False),
        (behind(HARD, "25.1.1.1", LAN), behind(HARD, "25.1.1.2", NEIGHBOR), True),
        (behind(BLOCKED, None, LAN), behind(BLOCKED, None, NEIGHBOR), False),
        (behind(BLOCKED, None, LAN), behind(HARD, "25.1.1.2", NEIGHBOR), False),
        (behind(BLOCKED, None, LAN), behind(BLOCKED, None, ELSEWHERE), True),
    ],
    ids=["one NAT", "equal homes", "one firewall", "one may be inside", "two firewalls"],
)
def test_no_report_speaks_against_a_path_within_a_lan(
    own: Announcement, theirs: Announcement, is_hopeless: bool
) -> None:
    """A pair behind one router whose Wi-Fi failed during a punch would stay relayed for an hour."""
    assert plan(own, theirs).is_hopeless is is_hopeless
    assert plan(theirs, own).is_hopeless is is_hopeless


def test_both_sides_come_to_the_same_reason() -> None:
    for own, theirs in ((HARD, HARD), (BLOCKED, HARD), (HARD, BLOCKED), (HARD, NatReport())):
        ours = plan(replace(OWN, nat=own), replace(THEIRS, nat=theirs))
        mirrored = plan(replace(THEIRS, nat=theirs), replace(OWN, nat=own))
        assert (ours.otherwise.code, ours.patience) == (mirrored.otherwise.code, mirrored.patience)
