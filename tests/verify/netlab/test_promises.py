"""What pairs of sites are promised, held against counts that others made."""

from __future__ import annotations

from itertools import combinations_with_replacement, product

import pytest

from tunnel.model.nat import Udp
from tunnel.verify.netlab import Kind, SiteSpec
from tunnel.verify.netlab.promises import is_direct_promised

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
