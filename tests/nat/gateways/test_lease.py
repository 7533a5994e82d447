from __future__ import annotations

import math

import pytest
from tests.nat.gateways.conftest import ROUTER

from tunnel.model.endpoint import Endpoint
from tunnel.model.port_mapping import PortProtocol
from tunnel.nat.gateways.lease import PortLease


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
