"""The plan: both sides come to the same one, from reports alone, and only where it can succeed."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from tunnel.model.announcement import Announcement
from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation, Filtering, Mapping, NatReport, Udp
from tunnel.peer.port_prediction.limits import PREDICTION_FLOWS, PREDICTION_SOCKETS
from tunnel.peer.port_prediction.plan import Aim, TacticName, plan_prediction, sockets_for

EASY = NatReport(mapping=Mapping.ENDPOINT_INDEPENDENT)
APDM, ADM = Mapping.ADDRESS_AND_PORT_DEPENDENT, Mapping.ADDRESS_DEPENDENT
BLOCKS = (None, (2048, 2559), (4096, 6143), (8192, 16383))
FILTERINGS = (Filtering.UNKNOWN, Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)


def body(nat: NatReport, *, key: int = 1, kind: CandidateKind = CandidateKind.REFLEXIVE) -> Announcement:
    candidates = (Candidate(Endpoint(f"25.0.0.{key}", 7), kind),)
    return Announcement(f"node {key}", bytes([key] * 32), (), candidates, nat)


def hard(allocation: Allocation = Allocation.RANDOM, mapping: Mapping = APDM, **more: object) -> NatReport:
    filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT
    block = (2048, 2559) if allocation is Allocation.BLOCK else None
    return replace(NatReport(mapping, filtering, allocation, block=block), **more)  # type: ignore[arg-type]


def reports() -> list[NatReport]:
    plain = [
        NatReport(mapping, filtering, allocation)
        for mapping, filtering, allocation in product(Mapping, FILTERINGS, Allocation)
    ]
    return plain + [NatReport(APDM, allocation=Allocation.BLOCK, block=block) for block in BLOCKS] + [hard(mapping=ADM)]


def test_swapped_arguments_give_mirrored_roles() -> None:
    """Over all pairs of reports and two attempts: one side listens, the other scans, and all else is the same."""
    found = 0
    for one, other in product(reports(), repeat=2):
        for attempt in (0, 1):
            ours = plan_prediction(body(one, key=1), body(other, key=2), attempt)
            theirs = plan_prediction(body(other, key=2), body(one, key=1), attempt)
            if ours is None:
                assert theirs is None
                continue
            found += 1
            assert theirs == replace(ours, we_listen=not ours.we_listen)
            assert 0 < ours.sockets <= PREDICTION_SOCKETS
            assert 0 <= ours.scan_sockets <= PREDICTION_SOCKETS
    assert found > 1000


@pytest.mark.parametrize(
    ("allocation", "name"),
    [
        (Allocation.RANDOM, TacticName.BIRTHDAY),
        (Allocation.UNKNOWN, TacticName.BIRTHDAY),
        (Allocation.SEQUENTIAL, TacticName.PREDICTED),
        (Allocation.PRESERVING, TacticName.PREDICTED),
        (Allocation.BLOCK, TacticName.BLOCK),
    ],
)
def test_the_side_behind_a_hard_nat_listens_and_the_other_scans_as_ports_are_allocated(
    allocation: Allocation, name: TacticName
) -> None:
    for attempt in range(4):
        tactic = plan_prediction(body(EASY), body(hard(allocation), key=2), attempt)
        assert tactic is not None
        assert (tactic.name, tactic.we_listen, tactic.aim) == (name, False, Aim.ANNOUNCED)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (EASY, EASY),
        (EASY, NatReport()),
        (hard(), hard()),
        (hard(), hard(Allocation.SEQUENTIAL)),
        (hard(), hard(Allocation.BLOCK)),
        (hard(mapping=ADM), hard(Allocation.BLOCK, ADM)),
        (hard(Allocation.BLOCK), hard(Allocation.BLOCK, block=(8192, 16383))),
        (hard(), NatReport(mapping=Mapping.ENDPOINT_INDEPENDENT, udp=Udp.BLOCKED)),
        (hard(filtering=Filtering.ADDRESS_DEPENDENT), hard(filtering=Filtering.ENDPOINT_INDEPENDENT)),
    ],
)
def test_where_no_prediction_is_needed_or_none_can_succeed_there_is_no_plan(one: NatReport, other: NatReport) -> None:
    assert plan_prediction(body(one), body(other, key=2)) is None


def test_an_endpoint_that_is_vouched_for_makes_a_hard_nat_easy() -> None:
    """The gateway mapped a port, or the user declared one: that side scans, or no prediction is needed."""
    mapped = body(hard(), kind=CandidateKind.MAPPED)
    tactic = plan_prediction(mapped, body(hard(), key=2))
    assert tactic is not None
    assert not tactic.we_listen
    assert plan_prediction(mapped, body(hard(), key=2, kind=CandidateKind.DECLARED)) is None


def test_a_filter_that_lets_the_address_in_needs_one_port_only() -> None:
    welcoming = hard(filtering=Filtering.ADDRESS_DEPENDENT)
    tactic = plan_prediction(body(welcoming), body(hard(mapping=ADM), key=2))
    assert tactic is not None
    assert (tactic.we_listen, tactic.aim) == (True, Aim.ANNOUNCED)


def test_two_who_could_both_open_take_turns() -> None:
    welcoming = hard(mapping=ADM, filtering=Filtering.ADDRESS_DEPENDENT)
    roles = [plan_prediction(body(welcoming), body(welcoming, key=2), attempt) for attempt in range(4)]
    assert [tactic.we_listen for tactic in roles if tactic is not None] == [True, False, True, False]


@pytest.mark.parametrize(
    ("one", "other", "aim"),
    [
        (hard(Allocation.SEQUENTIAL, ADM), hard(), Aim.REPORTED_PORT),
        (hard(Allocation.BLOCK, ADM), hard(Allocation.BLOCK), Aim.WHOLE_BLOCK),
        (hard(Allocation.BLOCK), hard(Allocation.SEQUENTIAL), Aim.SOME_OF_BLOCK),
        (hard(Allocation.BLOCK), hard(Allocation.BLOCK), Aim.SOME_OF_BLOCK),
        (hard(Allocation.SEQUENTIAL), hard(Allocation.PRESERVING), Aim.NEXT_PORTS),
    ],
)
def test_two_hard_nats_are_crossed_where_both_ports_are_in_reach(one: NatReport, other: NatReport, aim: Aim) -> None:
    tactic = plan_prediction(body(one), body(other, key=2))
    assert tactic is not None
    assert tactic.aim is aim
    if aim is not Aim.NEXT_PORTS and one != other:
        assert tactic.we_listen is (aim is Aim.SOME_OF_BLOCK and one.allocation is Allocation.SEQUENTIAL), (
            "the named side scans"
        )


@pytest.mark.parametrize(
    ("announced", "aimed"), [((1, 1800), (1024, 1800)), ((1, 65535), (1024, 65535)), ((2048, 2559), (2048, 2559))]
)
def test_no_port_of_a_service_is_aimed_at_whatever_block_was_announced(
    announced: tuple[int, int], aimed: tuple[int, int]
) -> None:
    """A report may be made up, and the address a victim's."""
    guessed = plan_prediction(body(EASY), body(hard(Allocation.BLOCK, block=announced), key=2))
    assert guessed is not None
    assert guessed.spans == (aimed,)
    plan = plan_prediction(body(hard(Allocation.SEQUENTIAL)), body(hard(Allocation.BLOCK, ADM, block=announced), key=2))
    assert (None if plan is None else plan.aim_block) == (aimed if aimed[1] < 65535 else None)


def test_a_block_of_services_alone_is_no_block() -> None:
    low = hard(Allocation.BLOCK, block=(1, 1023))
    tactic = plan_prediction(body(EASY), body(low, key=2))
    assert tactic is not None
    assert tactic.name is TacticName.BIRTHDAY
    assert plan_prediction(body(hard(Allocation.SEQUENTIAL)), body(low, key=2)) is None


@pytest.mark.parametrize("ports", [512, 1024, 2048, 4096, 16384, 64512])
def test_as_many_sockets_as_half_of_the_flows_need(ports: int) -> None:
    """All probes miss with the probability (1 - sockets / ports) ** probes."""
    sockets = sockets_for((1024, 1023 + ports))
    assert (1 - sockets / ports) ** min(ports, PREDICTION_FLOWS) < 0.001
    assert sockets <= PREDICTION_SOCKETS
