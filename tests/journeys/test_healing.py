"""What goes wrong under a running ping, how long the hole is, and how soon all is well again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.journeys.conftest import BUSY, ONE_WAY, OpenLabPrograms, Pair

from tunnel.verify.netlab import SERVER_ADDRESSES, Flow, Host, Kind, Lab, SiteSpec
from tunnel.verify.netlab.pings import Pinging

pytestmark = pytest.mark.netlab

INTERVAL = 0.1
"""Seconds between two pings: holes are measured in these."""
SELDOM = 7.0
"""Seconds between two pings of somebody who hardly uses the path."""
SOON = 5.0
"""Seconds until a path that can be direct is direct again."""
SHORT_CUT = 3.0
LONG_CUT = 25.0
"""At most: the path is distrusted after 6.5 s, and the punch that follows has 10 s."""
ADOPT_STRAYS = "net.netfilter.nf_conntrack_tcp_loose"
"""Whether a router takes a segment of a connection that it does not know for the start of one."""
OUTAGE = 60.0
"""Seconds that the server is gone."""


@pytest.fixture(scope="module")
def pair(open_lab_programs: OpenLabPrograms) -> Pair:
    """A desk at home and a laptop in the office, both behind port-preserving NATs, and a till where no UDP passes."""
    lab, lab_programs = open_lab_programs(
        SiteSpec("home", delay=ONE_WAY),
        SiteSpec("office", delay=ONE_WAY),
        SiteSpec("bank", Kind.UDP_BLOCKED, delay=ONE_WAY),
    )
    for site, name in (("home", "desk"), ("office", "laptop"), ("bank", "till")):
        lab_programs.start_node(lab.sites[site].host, name)
    lab_programs.wait_ready("desk", "laptop", "till")
    return lab, lab_programs


@contextmanager
def direct_pinging(pair: Pair) -> Iterator[Pinging]:
    """A ping from the desk to the laptop that goes straight, and no longer over the relay as well."""
    lab, lab_programs = pair
    pinging = lab_programs.start_ping("desk", "laptop", interval=INTERVAL)
    lab_programs.wait_direct("desk", "laptop")
    wait_relay_rests(lab)
    yield pinging


def wait_relay_rests(lab: Lab) -> None:
    """Until the server passes less than half of the pings on to the laptop."""
    ends = time.monotonic() + SOON
    to_laptop = Flow(SERVER_ADDRESSES[0], lab.sites["office"].wan, "tcp")
    window, passed = 0.5, lab.flows()[to_laptop].packets
    while time.monotonic() < ends:
        time.sleep(window)  # the claim is about a rate
        before, passed = passed, lab.flows()[to_laptop].packets
        if passed - before < window / INTERVAL / 2:
            return
    pytest.fail("data still goes over the relay")


@pytest.mark.parametrize("mover", ["home", "office"])
def test_a_change_of_a_public_address_is_healed_within_three_seconds(pair: Pair, mover: str) -> None:
    lab, lab_programs = pair
    with direct_pinging(pair) as pinging:
        began = time.monotonic()
        address = lab.change_wan(lab.sites[mover])
        pinging.wait_answer(time.time())
        told_by = "laptop" if mover == "home" else "desk"
        lab_programs.wait_peer(
            told_by,
            "desk" if mover == "home" else "laptop",
            lambda entry: entry["path"] is not None and str(entry["path"]["endpoint"]).startswith(f"{address}:"),
            f"direct at {address}",
            SOON,
        )
        lab_programs.wait_direct("desk", "laptop", SOON)
        took = time.monotonic() - began
        pings = pinging.stop()
    print(f"{mover} moved: hole {pings.longest_hole:.2f} s, direct at the new address after {took:.2f} s")
    assert pings.longest_hole <= 3.0 + BUSY


@pytest.mark.parametrize("router", ["resets", "silent"])
def test_a_relayed_peer_that_moves_is_heard_again_within_three_seconds(pair: Pair, router: str) -> None:
    """Its link to the server is dead then. A router may pass a stray segment on, and the server resets; or drop it."""
    lab, lab_programs = pair
    bank = lab.sites["bank"]
    adopts_strays = int(router == "resets")
    lab.run(Host("router", bank.edge, bank.wan), ["sysctl", "-qw", f"{ADOPT_STRAYS}={adopts_strays}"])
    pinging = lab_programs.start_ping("desk", "till", interval=INTERVAL)
    lab_programs.wait_state("desk", "till", "relayed")
    lab.change_wan(bank)
    pinging.wait_answer(time.time() + 1.0)
    lab_programs.wait_state("desk", "till", "relayed")
    pings = pinging.stop()
    print(f"relayed, router {router}: hole {pings.longest_hole:.2f} s, {len(pings.lost)} lost")
    assert pings.longest_hole <= 3.0 + BUSY


def test_a_short_cut_of_the_direct_path_makes_a_short_hole(pair: Pair) -> None:
    """The relay takes over long before the path is given up."""
    lab, lab_programs = pair
    home, office = lab.sites["home"], lab.sites["office"]
    with direct_pinging(pair) as pinging:
        lab.cut(home, office)
        pinging.wait_answer(time.time() + SHORT_CUT)
        lab.lift(home, office)
        lifted = time.time()
        lab_programs.wait_direct("desk", "laptop", SOON)
        took = time.time() - lifted
        pings = pinging.stop()
    print(f"short cut: hole {pings.longest_hole:.2f} s, {len(pings.lost)} lost, direct {took:.2f} s after the lift")
    assert pings.lost  # the cut was one
    assert pings.longest_hole <= 2.5 + BUSY


def test_a_long_cut_ends_in_the_relay_and_is_direct_again_soon_after_the_lift(pair: Pair) -> None:
    lab, lab_programs = pair
    home, office = lab.sites["home"], lab.sites["office"]
    with direct_pinging(pair) as pinging:
        lab.cut(home, office)
        for one, other in (("desk", "laptop"), ("laptop", "desk")):
            lab_programs.wait_state(one, other, "relayed", LONG_CUT)
        lab.lift(home, office)
        lifted = time.time()
        lab_programs.wait_direct("desk", "laptop", SOON)
        took = time.time() - lifted
        pings = pinging.stop()
    print(f"long cut: hole {pings.longest_hole:.2f} s, {len(pings.lost)} lost, direct {took:.2f} s after the lift")
    assert pings.longest_hole <= 2.5 + BUSY


def test_a_path_that_died_while_idle_is_found_out_by_one_ping_in_seven_seconds(pair: Pair) -> None:
    """More seldom than a path counts as in use: each ping must not be the first one for ever."""
    lab, lab_programs = pair
    home, office = lab.sites["home"], lab.sites["office"]
    with direct_pinging(pair) as pinging:
        pinging.stop()
    lab.cut(home, office)
    try:
        pings = lab_programs.start_ping("desk", "laptop", interval=SELDOM, count=5).finish()
        for one, other in (("desk", "laptop"), ("laptop", "desk")):
            lab_programs.wait_state(one, other, "relayed", LONG_CUT)
    finally:
        lab.lift(home, office)
    print(f"idle and cut: lost {pings.lost} of {pings.sent}, one each {SELDOM:g} s")
    assert set(pings.lost) <= {1}
    lab_programs.wait_direct("desk", "laptop", SOON)


def test_a_server_that_is_gone_for_a_minute_costs_a_direct_path_nothing_and_gets_its_nodes_back(pair: Pair) -> None:
    lab_programs = pair[1]
    leases = {name: lab_programs.address(name) for name in ("desk", "laptop")}
    with direct_pinging(pair) as pinging:
        lab_programs.kill_server()
        time.sleep(OUTAGE)  # the claim is about a minute of it
        pings = pinging.stop()
    assert pings.sent >= 0.9 * OUTAGE / INTERVAL
    assert pings.lost == ()
    print(f"server gone: {pings.sent} sent, longest hole {pings.longest_hole:.2f} s")
    lab_programs.start_server()
    started = time.monotonic()
    for name, lease in leases.items():
        lab_programs.wait_status(name, lambda status: bool(status["server"]["state"] == "registered"), "registered", 45)
        assert lab_programs.address(name) == lease
    print(f"registered again {time.monotonic() - started:.1f} s after its start")
    lab_programs.wait_direct("desk", "laptop", SOON)


def test_a_node_that_was_killed_talks_again_within_three_seconds_of_registering(pair: Pair) -> None:
    lab_programs = pair[1]
    with direct_pinging(pair) as pinging:
        lab_programs.kill_node("laptop")
        lab_programs.restart_node("laptop")
        lab_programs.wait_status("laptop", lambda status: bool(status["server"]["state"] == "registered"), "registered")
        registered = time.time()
        answer = pinging.wait_answer(registered)
        pinging.stop()
    print(f"killed: the first answer came {answer.at - registered:.2f} s after it was registered again")
    assert answer.at - registered <= 3.0 + BUSY
    lab_programs.wait_direct("desk", "laptop", SOON)


def test_a_node_that_is_asked_to_end_leaves_no_interface(pair: Pair) -> None:
    lab, lab_programs = pair
    laptop = lab_programs.nodes["laptop"]

    def interfaces() -> str:
        return lab.run(laptop.host, ["ip", "-o", "link"])

    assert laptop.tun in interfaces()
    laptop.process.terminate()
    try:
        assert laptop.process.wait(timeout=SOON) == 0
    except subprocess.TimeoutExpired:
        pytest.fail("it did not end")
    assert laptop.tun not in interfaces()
    assert not laptop.control.exists()
