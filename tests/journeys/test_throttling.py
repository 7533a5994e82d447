"""A network that slows UDP down, on real kernels: a stream inside the tunnel gets what TCP outside it would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.journeys.conftest import BUSY, ONE_WAY, OpenPair

pytestmark = pytest.mark.netlab

HOST_TOOL = [sys.executable, str(Path(__file__).with_name("host_tool.py"))]
POLICED = 125
"""Kilobytes a second: a megabit."""
FOUND_OUT = 30.0
"""Seconds in which the loss was seen and the link tried; a stream may need some to gain speed."""
ENDLESS = "60000000"
"""Bytes: more than is sent."""


def test_a_pair_whose_udp_is_policed_moves_to_the_server_s_connection_and_says_why(open_pair: OpenPair) -> None:
    lab, lab_programs = open_pair(delay=ONE_WAY)
    home, office = lab.sites["home"], lab.sites["office"]
    lab_programs.start_ping("desk", "laptop", count=10).finish()
    lab_programs.wait_direct("desk", "laptop")
    lab.police_udp(home, POLICED)
    address = lab_programs.address("laptop")
    receiver = lab.popen(office.host, [*HOST_TOOL, "receive", address], stdout=subprocess.PIPE)
    assert receiver.stdout is not None
    with receiver.stdout as lines:
        port = int(lines.readline())
        sender = lab.popen(home.host, [*HOST_TOOL, "send", f"{address}:{port}", ENDLESS], stdout=subprocess.DEVNULL)
        for one, other in (("desk", "laptop"), ("laptop", "desk")):
            entry = lab_programs.wait_peer(
                one,
                other,
                lambda entry: entry["reason"] is not None and entry["reason"]["code"] == "udp_throttled",
                "throttled",
                FOUND_OUT + BUSY,
            )
            assert entry["path"]["kind"] == "relay-websocket"
            print(one, entry["reason"]["evidence"])
        for process in (sender, receiver):
            process.kill()
            process.wait()
