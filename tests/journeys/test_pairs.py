"""What two hosts reach behind every kind of NAT, by `ping` and by what `status --json` says."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

import pytest
from tests.journeys.conftest import BUSY, ONE_WAY, OpenLabPrograms

from tunnel.verify.netlab import Kind, SiteSpec
from tunnel.verify.netlab.pings import Pings
from tunnel.verify.netlab.programs import LabPrograms, is_direct, peer_in

pytestmark = pytest.mark.netlab

SITES = (
    SiteSpec("home", Kind.PORT_PRESERVING, delay=ONE_WAY, hosts=2),
    SiteSpec("office", Kind.PORT_PRESERVING, delay=ONE_WAY),
    SiteSpec("cone", Kind.FULL_CONE, delay=ONE_WAY),
    SiteSpec("hotel", Kind.SYMMETRIC, delay=ONE_WAY),
    SiteSpec("mobile", Kind.SYMMETRIC, delay=ONE_WAY),
    SiteSpec("carrier", Kind.DOUBLE, delay=ONE_WAY),
    SiteSpec("rented", Kind.PUBLIC, delay=ONE_WAY),
    SiteSpec("bank", Kind.UDP_BLOCKED, delay=ONE_WAY),
    SiteSpec("school", Kind.WEB_ONLY, delay=ONE_WAY),
)


@dataclass(frozen=True, slots=True)
class Meeting:
    """Two nodes, named after their hosts; the first one pings."""

    one: str
    other: str

    def both(self) -> tuple[tuple[str, str], ...]:
        return ((self.one, self.other), (self.other, self.one))


@pytest.fixture(scope="module")
def lab_programs(open_lab_programs: OpenLabPrograms) -> LabPrograms:
    lab, lab_programs = open_lab_programs(*SITES)
    hosts = [host for site in lab.sites.values() for host in site.hosts]
    for host in hosts:
        lab_programs.start_node(host, host.name)
    lab_programs.wait_ready(*(host.name for host in hosts))
    return lab_programs


def ping_twenty_times(lab_programs: LabPrograms, meeting: Meeting, first_answer: float) -> Pings:
    """Nothing is lost and the first answer is quick."""
    pings = lab_programs.start_ping(meeting.one, meeting.other, count=20).finish()
    assert pings.sent == 20
    assert len(pings.answers) == 20
    assert pings.first is not None
    print(f"{meeting.one} x {meeting.other}: first answer after {pings.first.rtt:.3f} s")
    assert pings.first.rtt <= first_answer + BUSY
    return pings


def told(lab_programs: LabPrograms, name: str, peer: str) -> dict[str, Any]:
    entry = peer_in(lab_programs.printed_status(name), peer)
    assert entry is not None
    return entry


@pytest.mark.parametrize(
    "meeting",
    [
        pytest.param(Meeting("home", "office"), id="port_preserving-port_preserving"),
        pytest.param(Meeting("cone", "hotel"), id="full_cone-symmetric"),
        pytest.param(Meeting("carrier", "office"), id="double-port_preserving"),
        pytest.param(Meeting("rented", "hotel"), id="public-symmetric"),
    ],
)
def test_a_pair_that_can_meet_is_direct_within_a_second_of_the_first_packet(
    lab_programs: LabPrograms, meeting: Meeting
) -> None:
    pings = ping_twenty_times(lab_programs, meeting, first_answer=0.3)
    assert pings.first is not None
    for name, peer in meeting.both():
        entry = told(lab_programs, name, peer)
        assert is_direct(entry)
        assert entry["reason"] is None
        took = entry["history"][-1]["at"] - pings.first.asked
        print(f"{name} -> {peer}: direct after {took:.3f} s")
        assert took <= 1.0 + BUSY


def test_two_symmetric_nats_stay_relayed_and_say_why(lab_programs: LabPrograms) -> None:
    meeting = Meeting("hotel", "mobile")
    ping_twenty_times(lab_programs, meeting, first_answer=0.3)
    for name, peer in meeting.both():
        lab_programs.wait_state(name, peer, "relayed")
        entry = told(lab_programs, name, peer)
        assert entry["path"]["kind"] in ("relay-websocket", "relay-udp")  # which of them when: test_udp_relay.py
        assert entry["reason"]["code"] == "both_hard_nats"


@pytest.mark.parametrize(
    "meeting",
    [
        pytest.param(Meeting("bank", "home"), id="udp_blocked-port_preserving"),
        pytest.param(Meeting("school", "rented"), id="web_only-public"),
    ],
)
def test_without_udp_the_relay_carries_over_a_websocket(lab_programs: LabPrograms, meeting: Meeting) -> None:
    ping_twenty_times(lab_programs, meeting, first_answer=1.0)
    for name, peer in meeting.both():
        lab_programs.wait_state(name, peer, "relayed")
        entry = told(lab_programs, name, peer)
        assert entry["path"]["kind"] == "relay-websocket"
        assert entry["reason"]["code"] == "udp_blocked"


def test_two_hosts_behind_one_nat_talk_over_their_lan(lab_programs: LabPrograms) -> None:
    meeting = Meeting("home", "home-2")
    ping_twenty_times(lab_programs, meeting, first_answer=0.3)
    lan = ipaddress.ip_network("192.168.1.0/24")
    for name, peer in meeting.both():
        entry = told(lab_programs, name, peer)
        assert is_direct(entry)
        assert ipaddress.ip_address(entry["path"]["endpoint"].partition(":")[0]) in lan
