"""Round trips of pings through a tunnel, idle and beside a TCP stream at full speed.

Values, in milliseconds: `idle_p50`, `idle_p99`, `load_p50`, `load_p99`; and `load_lost`, the share of pings that
were not answered under load.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.performance.figures.tcp import WARM_UP
from bench.performance.iperf import transfer
from bench.performance.peers.tunnel import Tunnel
from bench.performance.pings import INTERVAL, ping
from bench.performance.stage import Stage
from bench.studies.statistics import percentile


@dataclass(frozen=True, slots=True)
class Latency:
    """A hundred pings a second."""

    name: str = "latency"

    def measure(self, stage: Stage, tunnel: Tunnel, seconds: float) -> dict[str, float]:
        """One run. Raises DeviceError."""
        idle = ping(stage.lab, stage.home, tunnel.address, seconds)
        with transfer(stage.lab, stage.home, stage.office, tunnel.address, seconds + 2 * WARM_UP) as run:
            time.sleep(WARM_UP)
            load = ping(stage.lab, stage.home, tunnel.address, seconds)
            run.finish()
        return {
            "idle_p50": percentile(idle, 0.5),
            "idle_p99": percentile(idle, 0.99),
            "load_p50": percentile(load, 0.5),
            "load_p99": percentile(load, 0.99),
            "load_lost": 1.0 - len(load) / round(seconds / INTERVAL),
        }
