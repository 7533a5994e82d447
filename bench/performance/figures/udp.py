"""A flood of datagrams through a tunnel: how many arrive.

Values: `delivered` and `offered`, datagrams a second, and `cpu_share`, the cores that both ends use meanwhile.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bench.performance.iperf import offered_datagrams, received_datagrams, run_transfer
from bench.performance.peers.tunnel import Tunnel
from bench.performance.processes import cpu_seconds
from bench.performance.stage import Stage

BUFFER = 1 << 20
"""Bytes that the receiver's socket may hold: what arrived while the receiver waited for a core is counted too."""


@dataclass(frozen=True, slots=True)
class Udp:
    """Datagrams of `size` bytes, as many as one sender can send."""

    name: str
    size: int

    def measure(self, stage: Stage, tunnel: Tunnel, seconds: float) -> dict[str, float]:
        """One run. Raises DeviceError."""
        began, before = time.monotonic(), cpu_seconds(tunnel.end_pids)
        options = ("-u", "-b", "0", "-l", str(self.size), "-w", str(udp_buffer()))
        report = run_transfer(stage.lab, stage.home, stage.office, tunnel.address, seconds, *options)
        return {
            "delivered": received_datagrams(report, self.size),
            "offered": offered_datagrams(report),
            "cpu_share": (cpu_seconds(tunnel.end_pids) - before) / (time.monotonic() - began),
        }


def udp_buffer() -> int:
    """As much as the system lets a program ask for: iperf3 takes no less than it asked for."""
    most = [int(Path(f"/proc/sys/net/core/{way}mem_max").read_text()) for way in "rw"]
    return min(BUFFER, *most)
