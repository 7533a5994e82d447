from __future__ import annotations

import math

import pytest
from tests.nat.gateways.conftest import ROUTER

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused
from tunnel.model.port_mapping import PortProtocol
from tunnel.nat.gateways.lease import PortLease, check_outside, is_contradicted


def lease(external: str = "25.0.0.9", lifetime: float = 600.0) -> PortLease:
    return PortLease(PortProtocol.PCP, ROUTER, 40000, Endpoint(external, 40000), 100.0, lifetime, 1)


def test_a_lease_ends_when_its_lifetime_is_over_and_a_permanent_one_never() -> None:
    assert lease().ends == 700.0
    assert not lease().is_permanent
    assert lease(lifetime=math.inf).is_permanent


@pytest.mark.parametrize(
    ("external", "is_public"),
    [
        ("25.0.0.9", True),
        ("2001:db8::9", True),
        ("192.168.0.9", False),
        ("100.64.0.9", False),
        ("127.0.0.1", False),
        ("169.254.0.9", False),
        ("0.0.0.0", False),
        ("240.0.0.9", False),
        ("fd00::9", False),
    ],
)
def test_a_lease_is_public_where_the_whole_internet_can_send(external: str, is_public: bool) -> None:
    """Another NAT stands before a gateway that names a private address; a reserved one is a lie."""
    assert lease(external).is_public is is_public


@pytest.mark.parametrize(
    ("external", "seen", "contradicted"),
    [
        ("25.0.0.9", [], False),
        ("25.0.0.9", ["25.0.0.9"], False),
        ("25.0.0.9", ["25.8.8.8", "25.0.0.9"], False),
        ("25.0.0.9", ["2001:db8::9"], False),
        ("25.0.0.9", ["25.8.8.8"], True),
        ("2001:db8::9", ["25.8.8.8", "2001:db8::8"], False),
    ],
)
def test_stun_contradicts_a_gateway_that_names_an_address_at_which_nobody_sees_us(
    external: str, seen: list[str], contradicted: bool
) -> None:
    endpoints = [Endpoint(host, 40000) for host in seen]
    assert is_contradicted(Endpoint(external, 40000), endpoints) is contradicted


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "127.0.0.1", "127.8.8.8", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"]
)
def test_an_address_that_leads_to_nobody_is_refused(host: str) -> None:
    with pytest.raises(Refused, match="no_external_address"):
        check_outside(Endpoint(host, 40000))


@pytest.mark.parametrize("host", ["25.0.0.9", "192.168.0.9", "100.64.0.9", "2001:db8::9"])
def test_an_address_at_which_anybody_is_reached_is_not_refused(host: str) -> None:
    check_outside(Endpoint(host, 40000))
