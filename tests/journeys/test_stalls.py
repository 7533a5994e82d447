"""Real processes that are stopped in the middle of a ping: they go on as if nothing had been."""

from __future__ import annotations

import signal
import time
from threading import Timer

import pytest
from tests.journeys.conftest import BUSY, ONE_WAY, OpenLabPrograms, Pair

from tunnel.verify.netlab import SERVER_ADDRESSES, Flow, Lab, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms

pytestmark = pytest.mark.netlab

INTERVAL = 0.1
TIMES = 4
WATCHED = 1.5
"""Seconds after a stop in which a doubt of the path would be seen: what is sent goes over the relay as well."""
SITES = {"desk": "home", "laptop": "office"}


@pytest.fixture(scope="module")
def pair(open_lab_programs: OpenLabPrograms) -> Pair:
    lab, lab_programs = open_lab_programs(SiteSpec("home", delay=ONE_WAY), SiteSpec("office", delay=ONE_WAY))
    for name, site in SITES.items():
        lab_programs.start_node(lab.sites[site].host, name)
    lab_programs.wait_ready("desk", "laptop")
    return lab, lab_programs


def stop_for(lab_programs: LabPrograms, name: str, seconds: float) -> None:
    """The kernel gives the process no turn meanwhile. Its sockets take what arrives."""
    process = lab_programs.nodes[name].process
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)  # it is the time without a turn that is tested
    finally:
        process.send_signal(signal.SIGCONT)


def moves(lab_programs: LabPrograms) -> list[object]:
    """All transitions that both peers took, and how often the server welcomed a node."""
    peers = (lab_programs.wait_state(*names, "connected") for names in (("desk", "laptop"), ("laptop", "desk")))
    return [*(peer["history"] for peer in peers), lab_programs.log("server").count("node registered")]


def count_relayed(lab: Lab, name: str) -> int:
    """Packets from this node's link to the server in the time that is watched, acknowledgments among them."""
    flow = Flow(lab.sites[SITES[name]].wan, SERVER_ADDRESSES[0], "tcp")
    before = lab.flows()[flow].packets
    time.sleep(WATCHED)  # the claim is about a rate
    return lab.flows()[flow].packets - before


@pytest.mark.parametrize("name", list(SITES))
@pytest.mark.parametrize("seconds", [0.6, 2.0])
def test_a_node_that_is_stopped_for_a_moment_keeps_its_path_and_its_server(
    pair: Pair, name: str, seconds: float
) -> None:
    """The one that is stopped asks the peer, or answers it; neither punches, and no link is dialed again."""
    lab, lab_programs = pair
    pinging = lab_programs.start_ping("desk", "laptop", interval=INTERVAL)
    pinging.wait_answer()
    lab_programs.wait_direct("desk", "laptop")
    before = moves(lab_programs)
    relayed = []
    for _ in range(TIMES):
        stop_for(lab_programs, name, seconds)
        relayed.append(count_relayed(lab, name))
    lab_programs.wait_direct("desk", "laptop")
    after = moves(lab_programs)
    pings = pinging.stop()
    print(f"{name} stopped for {seconds} s: hole {pings.longest_hole:.2f} s, lost {pings.lost}, relayed {relayed}")
    assert after == before
    assert pings.lost == ()
    assert min(relayed) < WATCHED / INTERVAL / 2  # a busy machine adds stops of its own, and doubts of the other side
    assert pings.longest_hole <= seconds + 1.0 + BUSY


def test_a_path_that_dies_while_a_node_is_stopped_is_left_as_soon_as_ever(pair: Pair) -> None:
    lab, lab_programs = pair
    home, office = lab.sites["home"], lab.sites["office"]
    pinging = lab_programs.start_ping("desk", "laptop", interval=INTERVAL)
    pinging.wait_answer()
    lab_programs.wait_direct("desk", "laptop")
    seconds = 2.0
    cut = Timer(seconds / 2, lab.cut, (home, office))
    cut.start()
    stop_for(lab_programs, "laptop", seconds)
    cut.join()
    pinging.wait_answer(time.time(), patience=3.0 + BUSY)
    lab_programs.wait_peer("laptop", "desk", lambda entry: entry["state"] != "connected", "given up")
    lab.lift(home, office)
    lab_programs.wait_direct("desk", "laptop")
    pings = pinging.stop()
    print(f"cut while the laptop was stopped: hole {pings.longest_hole:.2f} s")
    assert pings.longest_hole <= seconds + 3.0 + BUSY
