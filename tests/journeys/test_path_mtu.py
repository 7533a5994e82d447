"""A line whose MTU changes under traffic, on real kernels whose routers do not tell: large packets go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.journeys.conftest import BUSY, Pair

from tunnel.model.settings import TUNNEL_MTU
from tunnel.verify.netlab.programs import LabPrograms

pytestmark = pytest.mark.netlab

LARGEST = TUNNEL_MTU - 28
"""Bytes in the largest ping that the tunnel takes."""


def outside(mtu: int) -> Callable[[dict[str, Any]], bool]:
    """Whether a peer is reached directly with packets of this size outside, while the size inside is what it was."""

    def holds(entry: dict[str, Any]) -> bool:
        path = entry["path"]
        return path is not None and (path["kind"], path["mtu"], path["path_mtu"]) == ("direct", TUNNEL_MTU, mtu)

    return holds


def wait_outside(lab_programs: LabPrograms, mtu: int) -> None:
    for one, other in (("desk", "laptop"), ("laptop", "desk")):
        lab_programs.wait_peer(one, other, outside(mtu), f"packets of {mtu} bytes outside", 5.0 + BUSY)


def test_a_line_that_shrinks_under_traffic_is_found_out_within_three_seconds(pair: Pair) -> None:
    lab, lab_programs = pair
    pinging = lab_programs.start_ping("desk", "laptop", interval=0.1, size=LARGEST)
    wait_outside(lab_programs, 1500)
    pinging.wait_answer(time.time())
    lab.change_mtu(lab.sites["home"], 1300)
    changed = time.time()
    wait_outside(lab_programs, 1280)
    answer = pinging.wait_answer(changed)
    pings = pinging.stop()
    print(f"answered again {answer.at - changed:.2f} s after the change, longest hole {pings.longest_hole:.2f} s")
    assert pings.longest_hole <= 3.0 + BUSY
