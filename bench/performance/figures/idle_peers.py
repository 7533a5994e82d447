"""What a thousand peers that are known but silent cost a node: memory and CPU time.

The real node runs on the virtual internet of the simulation, in a process of its own (`python -m
bench.performance.idle_node`), once without peers and once with them, and an idle time passes in virtual seconds.
Values: `rss_more` (bytes), `cpu_more` (the share of a core) and the four that these are differences of.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.performance.peers.ours import Ours

PEERS = 1000
_PATIENCE = 400.0


@dataclass(frozen=True, slots=True)
class IdlePeers:
    """Ours alone, without a lab."""

    name: str = "idle-peers"

    def measure(self, _ours: Ours, _folder: Path, _seconds: float) -> dict[str, float]:
        """One run."""
        without, with_peers = (_run(count) for count in (0, PEERS))
        values = {f"{name}_without": value for name, value in without.items()} | with_peers
        return values | {f"{name}_more": with_peers[name] - without[name] for name in without}


def _run(peers: int) -> dict[str, float]:
    argv = [sys.executable, "-m", "bench.performance.idle_node", str(peers)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=_PATIENCE)
    values: dict[str, float] = json.loads(done.stdout)
    return values
