"""How soon a pair that has just started gets its first answer over the relay, 40 ms round trip.

Both nodes are up and know each other; then one ping is sent. It waits for the handshake, one round trip over the
relay, and takes one itself. Values, in milliseconds: `first` (the answer to that ping), `rtt` (the median of those
after it) and `more` (`first` without two round trips).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.performance.peers.ours import HOME, OFFICE, Ours
from bench.performance.pings import ping

from tunnel.verify.netlab import Kind, Lab, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms

ONE_WAY = 10.0
"""Milliseconds between a site and the server."""


@dataclass(frozen=True, slots=True)
class FirstByte:
    """In a lab of its own, ours alone."""

    name: str = "first-byte"

    def measure(self, ours: Ours, folder: Path, seconds: float) -> dict[str, float]:
        """One run. Raises DeviceError or Unreachable."""
        sites = [SiteSpec(name, Kind.PUBLIC, delay=ONE_WAY) for name in ("home", "office")]
        folder = folder / f"{self.name}-{time.monotonic_ns()}"
        folder.mkdir()
        with Lab(*sites) as lab, LabPrograms(lab, folder) as programs:
            programs.start_server(*ours.server_options)
            home = lab.sites["home"].host
            programs.start_node(home, HOME, "--relay-only", *ours.home_options)
            programs.start_node(lab.sites["office"].host, OFFICE, "--relay-only", *ours.office_options)
            programs.wait_ready(HOME, OFFICE)
            address = programs.address(OFFICE)
            first = ping(lab, home, address, 1.0, interval=1.0)[0]
            rtt = median(ping(lab, home, address, seconds, interval=0.1))
            return {"first": first, "rtt": rtt, "more": first - 2 * rtt}
