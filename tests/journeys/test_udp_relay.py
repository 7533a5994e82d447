"""What a pair without a direct path gets on real kernels: the UDP relay where UDP passes, the WebSocket elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from tests.journeys.conftest import ONE_WAY, OpenLabPrograms

from tunnel.verify.netlab import Kind, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms

pytestmark = pytest.mark.netlab

SITES = (
    SiteSpec("hotel", Kind.SYMMETRIC, delay=ONE_WAY),
    SiteSpec("mobile", Kind.SYMMETRIC, delay=ONE_WAY),
    SiteSpec("bank", Kind.UDP_BLOCKED, delay=ONE_WAY),
)


@pytest.fixture(scope="module")
def lab_programs(open_lab_programs: OpenLabPrograms) -> LabPrograms:
    lab, lab_programs = open_lab_programs(*SITES)
    for site in lab.sites.values():
        lab_programs.start_node(site.host, site.host.name)
    lab_programs.wait_ready(*(site.host.name for site in lab.sites.values()))
    return lab_programs


def wait_path(lab_programs: LabPrograms, name: str, peer: str, kind: str) -> dict[str, Any]:
    """Ping until data takes a path of this kind at this end; what status then says of the peer."""
    pings = lab_programs.start_ping(name, peer)

    def is_there(entry: dict[str, Any]) -> bool:
        return entry["path"] is not None and bool(entry["path"]["kind"] == kind)

    try:
        return lab_programs.wait_peer(name, peer, is_there, kind)
    finally:
        assert pings.stop().answers


def test_two_symmetric_nats_relay_over_udp_and_stay_relayed(lab_programs: LabPrograms) -> None:
    entry = wait_path(lab_programs, "hotel", "mobile", "relay-udp")
    assert entry["state"] in ("punching", "relayed")
    assert entry["path"]["endpoint"] is not None
    assert entry["path"]["rtt_ms"] >= 4 * ONE_WAY
    pings = lab_programs.start_ping("hotel", "mobile", count=500, interval=0.01).finish()
    assert len(pings.answers) >= 490
    other = lab_programs.peer("mobile", "hotel")
    assert other is not None
    assert other["path"]["kind"] == "relay-udp"


def test_a_side_without_udp_is_relayed_over_the_websocket(lab_programs: LabPrograms) -> None:
    pings = lab_programs.start_ping("bank", "hotel", count=60, interval=0.1).finish()
    assert len(pings.answers) == 60
    for name, peer in (("bank", "hotel"), ("hotel", "bank")):
        entry = lab_programs.wait_state(name, peer, "relayed")
        assert entry["path"]["kind"] == "relay-websocket"
        assert entry["reason"]["code"] == "udp_blocked"
