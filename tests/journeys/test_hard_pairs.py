"""What takes more than knocking at a known port, on real kernels: guessed ports, mapped ports, IPv6 alone, carriers."""

from __future__ import annotations

import pytest
from tests.journeys.conftest import BUSY, ONE_WAY, OpenLabPrograms

from tunnel.model.endpoint import parse_endpoint
from tunnel.verify.netlab import Kind, Lab, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms

pytestmark = pytest.mark.netlab

SITES = {
    "home": Kind.PORT_PRESERVING,
    "hotel": Kind.SYMMETRIC,
    "mobile": Kind.CGNAT_SYMMETRIC,
    "village": Kind.CGNAT,
    "flat": Kind.UPNP_SYMMETRIC,
    "house": Kind.PCP_SYMMETRIC,
    "modern": Kind.IPV6_ONLY,
    "newest": Kind.IPV6_ONLY,
}
QUICK = 2.0
"""Seconds to a direct path where one endpoint is known, mapped or not."""
GUESSED = 15.0
"""Where a port must be guessed, in nearly all runs; 30 s in the others, which is not one of thousands."""


@pytest.fixture(scope="module")
def street(open_lab_programs: OpenLabPrograms) -> tuple[Lab, LabPrograms]:
    lab, lab_programs = open_lab_programs(*(SiteSpec(name, kind, delay=ONE_WAY) for name, kind in SITES.items()))
    for name, site in lab.sites.items():
        lab_programs.start_node(site.host, name)
    lab_programs.wait_ready(*SITES)
    return lab, lab_programs


def meet(lab_programs: LabPrograms, one: str, other: str, within: float) -> tuple[str, str]:
    """Ping until both are direct; the endpoints over which they are, as each sees the other."""
    pinging = lab_programs.start_ping(one, other)
    asked = pinging.wait_answer(patience=10.0 + BUSY).asked
    entries = lab_programs.wait_direct(one, other, within + BUSY)
    took = max(entry["history"][-1]["at"] for entry in entries) - asked
    print(f"{one} x {other}: direct after {took:.3f} s")
    pings = pinging.stop()
    assert pings.lost == ()
    return entries[0]["path"]["endpoint"], entries[1]["path"]["endpoint"]


def host_of(endpoint: str) -> str:
    return parse_endpoint(endpoint).host


@pytest.mark.parametrize(("one", "other"), [("home", "hotel"), ("village", "mobile")])
def test_a_port_that_nobody_can_know_is_guessed_while_the_relay_carries(
    street: tuple[Lab, LabPrograms], one: str, other: str
) -> None:
    """Birthday punching against a NAT that gives each flow a random port, a home's or a carrier's.

    By nodes of their own: a node makes one such punch at a time, and rests after it.
    """
    lab, lab_programs = street
    theirs, ours = meet(lab_programs, one, other, 2 * GUESSED)
    assert host_of(theirs) == lab.sites[other].wan
    assert host_of(ours) == lab.sites[one].wan


@pytest.mark.parametrize(
    ("gateway", "protocol"), [pytest.param("flat", "upnp", marks=pytest.mark.upnp), ("house", "pcp")]
)
@pytest.mark.parametrize("other", ["hotel", "village"])
def test_a_gateway_that_opens_a_port_makes_a_hard_pair_an_easy_one(
    street: tuple[Lab, LabPrograms], gateway: str, protocol: str, other: str
) -> None:
    """Its own NAT is as hard as the other's: without the mapped port two such never meet."""
    lab, lab_programs = street
    status = lab_programs.wait_status(
        gateway, lambda status: bool(status["node"]["nat"]["port_mapping"] == protocol), f"mapped by {protocol}"
    )
    assert status["node"]["nat"]["mapping"] == "address_and_port_dependent"
    theirs, ours = meet(lab_programs, other, gateway, QUICK)
    assert host_of(theirs) == lab.sites[gateway].wan
    assert host_of(ours) == lab.sites[other].wan


def test_two_hosts_with_ipv6_alone_punch_through_both_filters(street: tuple[Lab, LabPrograms]) -> None:
    lab, lab_programs = street
    theirs, ours = meet(lab_programs, "modern", "newest", QUICK)
    assert host_of(theirs) == lab.sites["newest"].host.address_v6
    assert host_of(ours) == lab.sites["modern"].host.address_v6


def test_one_with_ipv6_alone_and_one_with_ipv4_alone_meet_over_the_relay(street: tuple[Lab, LabPrograms]) -> None:
    lab_programs = street[1]
    pings = lab_programs.start_ping("modern", "home", count=5).finish()
    assert len(pings.answers) == 5
    for name, peer in (("modern", "home"), ("home", "modern")):
        entry = lab_programs.wait_state(name, peer, "relayed")
        assert entry["reason"]["code"] == "no_candidates"


def test_two_customers_of_carriers_meet_at_the_carriers_addresses(street: tuple[Lab, LabPrograms]) -> None:
    lab, lab_programs = street
    theirs, ours = meet(lab_programs, "village", "home", QUICK)
    assert host_of(theirs) == lab.sites["home"].wan
    assert host_of(ours) == lab.sites["village"].wan
