"""A study of a pair reports what the same pair of real programs does."""

from __future__ import annotations

from bench.studies.study import OTHER, study_pair

from tunnel.model.nat import Allocation, Mapping
from tunnel.verify.reachability.topology import Host, Nat, Router, Topology, Udp

HARD = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.RANDOM)


def behind(one: Nat | None, other: Nat | None, *, udp: Udp = Udp.OPEN) -> Topology:
    return Topology(
        hosts={
            "one": Host(addresses=("192.168.1.10",), behind="near"),
            OTHER: Host(addresses=("192.168.2.10",), behind="far"),
        },
        routers={
            "near": Router(address="26.0.1.1", inner="192.168.1.1", nat=one),
            "far": Router(address="26.0.2.1", inner="192.168.2.1", nat=other, udp=udp),
        },
    )


def test_two_easy_nats_go_direct_within_a_second() -> None:
    result = study_pair(behind(Nat(), Nat()), 1)
    assert result.failures == ()
    assert result.is_direct
    assert (result.state, result.path, result.reason) == ("connected", "direct", "none")
    assert result.first_byte is not None
    assert result.direct is not None
    assert result.first_byte < 0.5
    assert result.direct < 1.0
    assert 0 < result.flows <= result.probes


def test_two_hard_nats_stay_relayed_and_say_why() -> None:
    result = study_pair(behind(HARD, HARD), 1)
    assert result.failures == ()
    assert not result.is_direct
    assert (result.state, result.path, result.reason) == ("relayed", "relay-udp", "both_hard_nats")
    assert result.first_byte is not None


def test_a_side_without_udp_says_so() -> None:
    result = study_pair(behind(Nat(), Nat(), udp=Udp.BLOCKED), 1)
    assert (result.path, result.reason) == ("relay-websocket", "udp_blocked")


def test_a_study_repeats_itself() -> None:
    topology = behind(Nat(), HARD)
    assert study_pair(topology, 5) == study_pair(topology, 5)
