"""TCP streams through a tunnel: Gbit/s, and what the ends use for it.

Values: `gbit` (of both directions together), `cpu_per_gb` (CPU seconds of both ends for 10^9 bytes),
`server_cpu_per_gb` (of a relay), and of each end `rss`, `rss_peak` and `pss` in bytes, taken while the streams run. A
second of the same traffic goes before, uncounted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.performance.iperf import received_gbit, received_gigabytes, run_transfer, transfer
from bench.performance.peers.tunnel import Tunnel
from bench.performance.processes import cpu_seconds, memory
from bench.performance.stage import Stage

WARM_UP = 1.0
_FULL_LOAD = 0.8
"""Memory is read when so much of the run is over."""


@dataclass(frozen=True, slots=True)
class Tcp:
    """Some streams, in one direction or in both."""

    name: str
    streams: int = 1
    both: bool = False

    def measure(self, stage: Stage, tunnel: Tunnel, seconds: float) -> dict[str, float]:
        """One run. Raises DeviceError."""
        options = ["-P", str(self.streams), *(["--bidir"] if self.both else [])]
        way = (stage.lab, stage.home, stage.office, tunnel.address)
        run_transfer(*way, WARM_UP, *options)
        ends_before, server_before = cpu_seconds(tunnel.end_pids), cpu_seconds(tunnel.server_pids)
        values: dict[str, float] = {}
        with transfer(*way, seconds, *options) as run:
            time.sleep(seconds * _FULL_LOAD)
            for end, pids in (
                ("home", tunnel.home_pids),
                ("office", tunnel.office_pids),
                ("server", tunnel.server_pids),
            ):
                if pids:
                    used = memory(pids)
                    values |= {f"{end}_rss": used.now, f"{end}_rss_peak": used.peak, f"{end}_pss": used.proportional}
            report = run.finish()
        gigabytes = received_gigabytes(report)
        values["gbit"] = received_gbit(report)
        if self.both:
            back = received_gbit(report, "sum_received_bidir_reverse")
            values |= {"gbit": values["gbit"] + back, "gbit_forth": values["gbit"], "gbit_back": back}
        if tunnel.end_pids:
            values["cpu_per_gb"] = (cpu_seconds(tunnel.end_pids) - ends_before) / gigabytes
        if tunnel.server_pids:
            values["server_cpu_per_gb"] = (cpu_seconds(tunnel.server_pids) - server_before) / gigabytes
        return values
