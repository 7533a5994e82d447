"""What a pair without a direct path gets on real kernels: the UDP relay where UDP passes, the WebSocket elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from tests.journeys.conftest import ONE_WAY, OpenHousehold

from tunnel.verify.netlab import Kind, SiteSpec
from tunnel.verify.netlab.programs import Household

pytestmark = pytest.mark.netlab

SITES = (
    SiteSpec("hotel", Kind.SYMMETRIC, delay=ONE_WAY),
    SiteSpec("mobile", Kind.SYMMETRIC, delay=ONE_WAY),
    SiteSpec("bank", Kind.UDP_BLOCKED, delay=ONE_WAY),
)


@pytest.fixture(scope="module")
def household(open_household: OpenHousehold) -> Household:
    lab, household = open_household(*SITES)
    for site in lab.sites.values():
        household.start_node(site.host, site.host.name)
    household.wait_ready(*(site.host.name for site in lab.sites.values()))
    return household


def wait_path(household: Household, name: str, peer: str, kind: str) -> dict[str, Any]:
    """Ping until data takes a path of this kind at this end; what status then says of the peer."""
    pings = household.start_ping(name, peer)

    def is_there(entry: dict[str, Any]) -> bool:
        return entry["path"] is not None and bool(entry["path"]["kind"] == kind)

    try:
        return household.wait_peer(name, peer, is_there, kind)
    finally:
        assert pings.stop().answers


def test_two_symmetric_nats_relay_over_udp_and_stay_relayed(household: Household) -> None:
    entry = wait_path(household, "hotel", "mobile", "relay-udp")
    assert entry["state"] in ("punching", "relayed")
    assert entry["path"]["endpoint"] is not None
    assert entry["path"]["rtt_ms"] >= 4 * ONE_WAY
    pings = household.start_ping("hotel", "mobile", count=500, interval=0.01).finish()
    assert len(pings.answers) >= 490
    other = household.peer("mobile", "hotel")
    assert other is not None
    assert other["path"]["kind"] == "relay-udp"


def test_a_side_without_udp_is_relayed_over_the_websocket(household: Household) -> None:
    pings = household.start_ping("bank", "hotel", count=60, interval=0.1).finish()
    assert len(pings.answers) == 60
    for name, peer in (("bank", "hotel"), ("hotel", "bank")):
        entry = household.wait_state(name, peer, "relayed")
        assert entry["path"]["kind"] == "relay-websocket"
        assert entry["reason"]["code"] == "udp_blocked"
