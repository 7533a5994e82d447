"""Many pairs through one relay at once, one TCP stream each: whether the server gives all of them as much.

Values: `jain` (Jain's index of the streams' speeds), `gbit` (of all together), `least` (the slowest through the mean),
`server_cpu_per_gb` and `server_rss`. The nodes share the machine's cores with the server.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.performance.iperf import received_gbit, received_gigabytes, transfer
from bench.performance.peers.ours import Ours
from bench.performance.pings import ping
from bench.performance.processes import cpu_seconds, memory
from bench.performance.summary import jain_index

from tunnel.verify.netlab import Kind, Lab, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms

_STARTING = 300.0
"""Seconds that a hundred nodes get to start at once on two cores."""
_LEAST_SECONDS = 10.0
"""A shorter run shows the order of the starts rather than the shares."""


@dataclass(frozen=True, slots=True)
class ManyPairs:
    """In a lab of its own, ours alone."""

    pairs: int = 50
    name: str = "many-pairs"

    def measure(self, ours: Ours, folder: Path, seconds: float) -> dict[str, float]:
        """One run. Raises DeviceError or Unreachable."""
        folder = folder / f"{self.name}-{time.monotonic_ns()}"
        folder.mkdir()
        seconds = max(seconds, _LEAST_SECONDS)
        names = [(f"a{number}", f"b{number}") for number in range(self.pairs)]
        sites = [SiteSpec(name, Kind.PUBLIC) for pair in names for name in pair]
        with Lab(*sites) as lab, LabPrograms(lab, folder) as programs, ExitStack() as transfers:
            programs.start_server(*ours.server_options)
            assert programs.server is not None
            server = (programs.server.pid,)
            for pair in names:
                for name in pair:
                    programs.start_node(lab.sites[name].host, name, "--relay-only", *ours.home_options)
            places = []
            for one, other in names:
                for near, far in ((one, other), (other, one)):
                    programs.wait_peer(near, far, lambda entry: entry["state"] != "detecting", "known", _STARTING)
                places.append((lab.sites[one].host, lab.sites[other].host, programs.address(other)))
            for home, _, address in places:
                ping(lab, home, address, 1.0, interval=0.5)
            before = cpu_seconds(server)
            runs = [
                transfers.enter_context(transfer(lab, home, office, address, seconds))
                for home, office, address in places
            ]
            reports = [run.finish() for run in runs]
            used = cpu_seconds(server) - before
            speeds = [received_gbit(report) for report in reports]
            return {
                "jain": jain_index(speeds),
                "gbit": sum(speeds),
                "least": min(speeds) * len(speeds) / sum(speeds),
                "server_cpu_per_gb": used / sum(received_gigabytes(report) for report in reports),
                "server_rss": memory(server).now,
            }
