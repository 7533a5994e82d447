"""What pairs of sites are promised, compared with the counts of others."""

from __future__ import annotations

from itertools import combinations_with_replacement, product

import pytest

from tunnel.model.nat import Udp
from tunnel.verify.netlab import Kind, SiteSpec
from tunnel.verify.netlab.promises import is_direct_promised
from tunnel.verify.reachability.nat_kinds import NATS

SEVEN = (
    Kind.PUBLIC,
    Kind.FULL_CONE,
    Kind.PORT_PRESERVING,
    Kind.SYMMETRIC,
    Kind.DOUBLE,
    Kind.UDP_BLOCKED,
    Kind.UPNP_SYMMETRIC,
)


def promised(one: Kind, other: Kind, *, ipv6: bool = False) -> bool:
    return is_direct_promised(SiteSpec("one", one, ipv6=ipv6), SiteSpec("other", other, ipv6=ipv6))


def test_of_the_forty_nine_cells_that_other_tools_were_measured_on_thirty_five_are_promised() -> None:
    """All but those with a side whose UDP is blocked (13) and two symmetric NATs (1)."""
    assert sum(promised(one, other) for one, other in product(SEVEN, repeat=2)) == 35


def test_a_gateway_on_one_side_makes_every_pair_direct_that_shares_a_family_and_has_udp() -> None:
    for one, other in product(Kind, repeat=2):
        if one.gateway is not None:
            assert promised(one, other) is (other.has_ipv4 and other.truth.udp is not Udp.BLOCKED)


def test_where_both_have_ipv6_only_blocked_udp_keeps_them_apart() -> None:
    for one, other in product(Kind, repeat=2):
        blocked = Udp.BLOCKED in (one.truth.udp, other.truth.udp)
        assert promised(one, other, ipv6=True) is not blocked


@pytest.mark.parametrize(
    ("one", "other", "direct"),
    [
        (Kind.IPV6_ONLY, Kind.IPV6_ONLY, True),
        (Kind.IPV6_ONLY, Kind.PUBLIC, False),
        (Kind.SYMMETRIC, Kind.PUBLIC, True),
        (Kind.SYMMETRIC, Kind.FIREWALL, True),
        (Kind.SYMMETRIC_SEQUENTIAL, Kind.SYMMETRIC_SEQUENTIAL, True),
        (Kind.SYMMETRIC_SEQUENTIAL, Kind.SYMMETRIC, False),
        (Kind.CGNAT_SYMMETRIC, Kind.SYMMETRIC, False),
        (Kind.CGNAT_SYMMETRIC, Kind.CGNAT, True),
        (Kind.WEB_ONLY, Kind.PUBLIC, False),
    ],
)
def test_a_pair_is_promised_what_its_nats_allow(one: Kind, other: Kind, direct: bool) -> None:
    assert promised(one, other) is promised(other, one) is direct


def test_a_promise_does_not_depend_on_who_is_asked_first() -> None:
    for one, other in combinations_with_replacement(Kind, 2):
        assert promised(one, other) is promised(other, one)


def test_a_kind_of_the_lab_is_a_nat_that_the_simulation_knows_by_name() -> None:
    """What is said of one holds of the other."""
    named = {
        Kind.FULL_CONE: "full_cone",
        Kind.ADDR_RESTRICTED: "address_restricted",
        Kind.PORT_PRESERVING: "port_restricted",
        Kind.SYMMETRIC: "symmetric",
        Kind.SYMMETRIC_SEQUENTIAL: "sequential",
    }
    for kind, name in named.items():
        assert [router.nat for router in kind.chain.routers] == [NATS[name]]
    assert [router.nat for router in Kind.CGNAT_SYMMETRIC.chain.routers] == [NATS["port_restricted"], NATS["symmetric"]]


def test_of_each_kind_the_expected_report_is_what_the_lab_claims() -> None:
    """Written out once by hand: mapping, filtering, allocation, port mapping."""
    easy, hard = "endpoint_independent", "address_and_port_dependent"
    told = {
        kind.value: (kind.truth.mapping.value, kind.truth.filtering.value, kind.truth.allocation.value)
        for kind in Kind
        if kind.truth.udp is Udp.OPEN
    }
    assert told == {
        "public": ("none", "none", "unknown"),
        "firewall": ("none", hard, "unknown"),
        "full_cone": (easy, "endpoint_independent", "preserving"),
        "addr_restricted": (easy, "address_dependent", "preserving"),
        "port_preserving": (easy, hard, "preserving"),
        "sloppy": (easy, hard, "preserving"),
        "symmetric": (hard, hard, "random"),
        "symmetric_sequential": (hard, hard, "sequential"),
        "double": (easy, hard, "preserving"),
        "cgnat": (easy, hard, "preserving"),
        "cgnat_symmetric": (hard, hard, "random"),
        "upnp": (easy, hard, "preserving"),
        "upnp_symmetric": (hard, hard, "random"),
        "pcp": (easy, hard, "preserving"),
        "pcp_symmetric": (hard, hard, "random"),
        "ipv6_only": ("none", hard, "unknown"),
    }
    assert {kind.value: kind.truth.port_mapping for kind in Kind if kind.gateway is not None} == {
        "upnp": "upnp",
        "upnp_symmetric": "upnp",
        "pcp": "pcp",
        "pcp_symmetric": "pcp",
    }
