from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.announcement import MAX_CANDIDATES
from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import NatReport
from tunnel.nat.candidates import MAX_REFLEXIVE, gather, order, own_endpoints
from tunnel.nat.survey import SurveyResult

ANY4, ANY6 = Endpoint("0.0.0.0", 5000), Endpoint("::", 5006)
LAN, IPV6, REFLEXIVE = CandidateKind.LAN, CandidateKind.IPV6, CandidateKind.REFLEXIVE


def surveyed(*endpoints: str) -> SurveyResult:
    return SurveyResult(NatReport(), reflexive=tuple(Endpoint(host, 40000) for host in endpoints))


def places(candidates: tuple[Candidate, ...]) -> list[tuple[str, CandidateKind]]:
    return [(candidate.endpoint.host, candidate.kind) for candidate in candidates]


def test_a_wildcard_socket_has_an_endpoint_on_each_address_of_its_family() -> None:
    assert own_endpoints(["10.0.0.1", "2001:db8::1", "10.0.0.2"], [ANY4, ANY6, Endpoint("10.0.0.1", 5000)]) == (
        Endpoint("10.0.0.1", 5000),
        Endpoint("10.0.0.2", 5000),
        Endpoint("2001:db8::1", 5006),
    )


def test_a_bound_socket_has_its_own_endpoint_only() -> None:
    assert own_endpoints(["10.0.0.1", "10.0.0.2"], [Endpoint("10.0.0.2", 7)]) == (Endpoint("10.0.0.2", 7),)


@pytest.mark.parametrize(
    ("address", "kind"),
    [("192.168.1.5", LAN), ("100.64.0.2", LAN), ("25.1.1.1", LAN), ("fd12::5", LAN), ("2001:db8::5", IPV6)],
)
def test_an_interface_address_is_offered_as_this_kind(address: str, kind: CandidateKind) -> None:
    assert places(gather([address], [ANY4, ANY6])) == [(address, kind)]


def test_link_addresses_are_never_offered() -> None:
    assert gather(["169.254.7.7", "fe80::1"], [ANY4, ANY6]) == ()


def test_loopback_is_offered_by_a_machine_that_has_nothing_else() -> None:
    """The demo runs on a laptop on a train."""
    assert places(gather(["127.0.0.1", "::1"], [ANY4])) == [("127.0.0.1", LAN)]
    assert places(gather(["127.0.0.1", "10.0.0.1"], [ANY4])) == [("10.0.0.1", LAN)]
    assert places(gather(["127.0.0.1"], [ANY4], survey=surveyed("127.0.0.1")))[0] == ("127.0.0.1", REFLEXIVE)
    assert gather(["10.0.0.1"], [ANY4], survey=surveyed("127.0.0.1"))[0].kind is LAN


def test_the_tunnels_own_addresses_are_left_out() -> None:
    found = gather(
        ["10.86.0.7", "192.168.1.5", "fd00:1::7"],
        [ANY4, ANY6],
        survey=surveyed("10.86.0.9"),
        exclude=["10.86.0.0/16", "fd00:1::7"],
    )
    assert places(found) == [("192.168.1.5", LAN)]


def test_outer_endpoints_come_first_and_each_endpoint_once() -> None:
    found = gather(
        ["192.168.1.5", "2001:db8::5", "25.9.9.9"],
        [ANY4, ANY6],
        survey=SurveyResult(NatReport(), reflexive=(Endpoint("25.9.9.9", 5000), Endpoint("25.1.1.1", 40000))),
        declared=Endpoint("25.1.1.1", 4500),
        mapped=[Endpoint("25.1.1.1", 4500)],
    )
    assert found == (
        Candidate(Endpoint("25.1.1.1", 4500), CandidateKind.DECLARED),
        Candidate(Endpoint("25.1.1.1", 40000), REFLEXIVE),
        Candidate(Endpoint("192.168.1.5", 5000), LAN),
        Candidate(Endpoint("2001:db8::5", 5006), IPV6),
        Candidate(Endpoint("25.9.9.9", 5000), LAN),
    )


@pytest.mark.parametrize(
    ("mapped", "seen", "kind"),
    [
        ("25.1.1.1", [], CandidateKind.MAPPED),
        ("25.1.1.1", ["25.1.1.1"], CandidateKind.MAPPED),
        ("25.1.1.1", ["25.8.8.8", "25.1.1.1"], CandidateKind.MAPPED),
        ("25.1.1.1", ["2001:db8::5"], CandidateKind.MAPPED),
        ("2001:db8::9", ["25.8.8.8"], CandidateKind.MAPPED),
        ("100.64.0.9", ["25.1.1.1"], LAN),
        ("192.168.0.9", [], LAN),
        ("25.1.1.1", ["25.8.8.8"], None),
        ("240.0.0.1", [], None),
        ("0.0.0.0", [], None),
        ("169.254.0.1", [], None),
        ("127.0.0.1", [], None),
    ],
)
def test_a_mapped_endpoint_is_told_to_those_whom_it_helps(
    mapped: str, seen: list[str], kind: CandidateKind | None
) -> None:
    """An open port must really be open: the gateway may be behind another NAT, and gateways lie."""
    found = gather(["192.168.1.5"], [ANY4], survey=surveyed(*seen) if seen else None, mapped=[Endpoint(mapped, 4500)])
    assert [one.kind for one in found if one.endpoint == Endpoint(mapped, 4500)] == [kind] * (kind is not None)


def test_a_pinhole_is_no_other_candidate_than_the_address_itself() -> None:
    found = gather(["2001:db8::5"], [ANY6], mapped=[Endpoint("2001:db8::5", 5006)])
    assert places(found) == [("2001:db8::5", IPV6)]


def test_a_hundred_addresses_do_not_push_the_useful_ones_out() -> None:
    bridges = [f"172.17.{number}.1" for number in range(100)]
    found = gather(
        [*bridges, "2001:db8::5"], [ANY4, ANY6], survey=surveyed(*(f"25.1.1.{number}" for number in range(1, 30)))
    )
    kinds = [candidate.kind for candidate in found]
    assert len(found) == MAX_CANDIDATES
    assert kinds.count(REFLEXIVE) == MAX_REFLEXIVE
    assert IPV6 in kinds


def test_an_unusable_declared_endpoint_is_not_offered() -> None:
    assert gather([], [ANY4], declared=Endpoint("25.1.1.1", 0)) == ()


def candidate(text: str, kind: CandidateKind = LAN, port: int = 5000) -> Candidate:
    return Candidate(Endpoint(text, port), kind)


def test_without_a_common_site_open_ways_come_first_and_foreign_lans_last() -> None:
    own = [candidate("192.168.1.5"), candidate("2001:db8:1::5", IPV6), candidate("25.1.1.1", REFLEXIVE)]
    theirs = [
        candidate("10.0.0.9"),
        candidate("25.2.2.2", CandidateKind.PREDICTED),
        candidate("25.2.2.2", REFLEXIVE, 40000),
        candidate("25.2.2.2", CandidateKind.DECLARED, 4500),
        candidate("2001:db8:2::9", IPV6),
    ]
    assert [one.endpoint.host for one in order(own, theirs)] == [
        "2001:db8:2::9",
        "25.2.2.2",
        "25.2.2.2",
        "25.2.2.2",
        "10.0.0.9",
    ]
    assert [one.kind for one in order(own, theirs)][1:4] == [CandidateKind.DECLARED, REFLEXIVE, CandidateKind.PREDICTED]


def test_behind_one_nat_the_lan_comes_first() -> None:
    """They were seen at our own outer address: most NATs do not hairpin, and the LAN is shorter."""
    own = [candidate("192.168.1.5"), candidate("25.1.1.1", REFLEXIVE)]
    theirs = [candidate("25.1.1.1", REFLEXIVE, 40001), candidate("10.7.0.9"), candidate("192.168.1.6")]
    assert [one.endpoint.host for one in order(own, theirs)] == ["192.168.1.6", "10.7.0.9", "25.1.1.1"]


def test_a_common_subnet_comes_first() -> None:
    own = [candidate("10.1.2.3"), candidate("2001:db8:1::5", IPV6)]
    theirs = [candidate("10.9.9.9"), candidate("2001:db8:1::9", IPV6), candidate("10.1.2.4")]
    assert [one.endpoint.host for one in order(own, theirs)] == ["2001:db8:1::9", "10.1.2.4", "10.9.9.9"]


def test_an_address_family_that_we_lack_comes_last() -> None:
    own = [candidate("10.1.2.3")]
    theirs = [candidate("2001:db8:2::9", IPV6), candidate("10.9.9.9")]
    assert [one.endpoint.host for one in order(own, theirs)] == ["10.9.9.9", "2001:db8:2::9"]


def test_our_own_endpoint_is_never_probed_but_another_port_of_our_machine_is() -> None:
    """Two machines with the same bridge address, and two nodes on one machine."""
    own = [candidate("172.17.0.1")]
    assert order(own, [candidate("172.17.0.1"), candidate("172.17.0.1", port=6000)]) == (
        candidate("172.17.0.1", port=6000),
    )


HOSTS = st.sampled_from(["10.0.0.1", "10.0.0.2", "25.1.1.1", "127.0.0.1", "2001:db8::1", "fd00::1", "169.254.1.1"])
CANDIDATES = st.lists(
    st.builds(Candidate, st.builds(Endpoint, HOSTS, st.integers(1, 3)), st.sampled_from(CandidateKind)), max_size=8
)


@given(CANDIDATES, CANDIDATES)
def test_the_order_loses_and_invents_nothing(own: list[Candidate], theirs: list[Candidate]) -> None:
    ours = {one.endpoint for one in own}
    assert sorted(order(own, theirs), key=repr) == sorted((one for one in theirs if one.endpoint not in ours), key=repr)


def test_where_there_are_too_many_addresses_the_first_ones_are_told() -> None:
    """The machine names the best first: with two dozen bridges of containers the LAN's address was cut off."""
    bridges = [f"172.{number}.0.1" for number in range(1, 40)]
    found = gather(["192.168.1.10", *bridges], [ANY4], survey=surveyed("25.0.0.1"))
    assert places(found)[:2] == [("25.0.0.1", REFLEXIVE), ("192.168.1.10", LAN)]
    assert len(found) == MAX_CANDIDATES
