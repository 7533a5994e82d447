"""Somebody changes the interface of a running node: the tunnel carries again within seconds, and `status` says it."""

from __future__ import annotations

import time

import pytest
from tests.journeys.conftest import BUSY, Pair

from tunnel.verify.netlab.pings import Pinging

pytestmark = pytest.mark.netlab

INTERVAL = 0.1


@pytest.fixture
def pinging(pair: Pair) -> Pinging:
    _, lab_programs = pair
    pinging = lab_programs.start_ping("laptop", "desk", interval=INTERVAL)
    pinging.wait_answer()
    return pinging


@pytest.mark.parametrize(
    "words",
    [
        "address flush dev t-desk",
        "link set t-desk down",
        "route delete 10.86.0.0/16 dev t-desk",
        "link delete t-desk",
    ],
)
def test_what_is_taken_off_a_running_node_s_interface_is_put_back(pair: Pair, pinging: Pinging, words: str) -> None:
    """Addresses of both families; what was a direct path goes on being one."""
    lab, lab_programs = pair
    desk = lab_programs.nodes["desk"]
    before = lab_programs.status("desk")["node"]["notes"]
    lab.run(desk.host, ["ip", *words.split()])
    lab_programs.wait_status("desk", lambda status: bool(status["node"]["notes"] != before), "told", 60.0)
    pinging.wait_answer(time.time(), patience=10.0 + BUSY)
    pinging.stop()
    own = lab_programs.status("desk")["node"]["addresses"]
    there = lab.run(desk.host, ["ip", "-br", "address", "show", "dev", "t-desk"])
    assert all(f"{address}/" in there for address in own)
    assert "somebody changed the interface" in lab_programs.log("desk")
    assert any("somebody changed t-desk" in note for note in lab_programs.status("desk")["node"]["notes"])
