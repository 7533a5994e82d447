"""A pair whose applications never rest: what may have ridden in the tunnel proves nothing, and yet a path is proved."""

from __future__ import annotations

import subprocess

import pytest
from tests.journeys.conftest import BUSY, ONE_WAY, OpenPair

pytestmark = pytest.mark.netlab

LOAD = ["-i", "0.002", "-s", "1200", "-q"]
"""600 kB/s: while a probe is on its way and back, the tunnel carries twenty times its bytes."""
SOON = 5.0


def test_a_pair_under_load_gets_its_direct_path(open_pair: OpenPair) -> None:
    """Applications are kept waiting for a moment, so that nothing but the probe is under way."""
    lab, lab_programs = open_pair(delay=ONE_WAY)
    floods = [
        lab.popen(
            lab_programs.nodes[name].host, ["ping", *LOAD, lab_programs.address(other)], stdout=subprocess.DEVNULL
        )
        for name, other in (("desk", "laptop"), ("laptop", "desk"))
    ]
    one, other = lab_programs.wait_direct("desk", "laptop", SOON + BUSY)
    for flood in floods:
        flood.terminate()
        flood.wait()
    for entry in (one, other):
        times = {move["to"]: move["at"] for move in entry["history"]}
        print(f"direct {times['connected'] - times['punching']:.2f} s after the punch began")
