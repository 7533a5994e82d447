"""Many pairs through one relay at once, one TCP stream each: whether the server gives all of them as much.

All streams run before and after the seconds that are measured; what each receiver's TUN interface took in these
counts. All have the same fixed window: with free windows congestion control makes streams unequal where a hundred
nodes share two cores, however the server serves them.

Values: `jain` (Jain's index of the streams), `gbit` (all together), `least` (the slowest through the mean),
`server_cpu_per_gb`, `server_rss` and `circuits` (the share of the pairs whose sender was on the UDP relay at the
end). The nodes share the machine's cores with the server.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.performance.iperf import transfer
from bench.performance.peers.ours import Ours
from bench.performance.pings import wait_answer
from bench.performance.processes import cpu_seconds, memory, received_bytes
from bench.performance.summary import jain_index

from tunnel.verify.netlab import Kind, Lab, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms

_STARTING = 60.0
"""Seconds that the pairs that start together get to know each other, and again to answer."""
_TOGETHER = 5
"""Pairs that start at the same time."""
_WARM_UP = 5.0
"""Seconds from the start of the last stream on."""
_LONGEST = 600.0
"""Seconds after which a stream would end by itself."""
_WINDOW = ("-C", "reno", "-w", "64K")
"""Of each stream: it is full all the time, and those of 50 pairs fit into the buffer of the server's socket."""
_LEAST_SECONDS = 10.0
"""A shorter run shows chance rather than shares."""


@dataclass(frozen=True, slots=True)
class ManyPairs:
    """In a lab of its own, ours alone."""

    pairs: int = 50
    name: str = "many-pairs"

    def measure(self, ours: Ours, folder: Path, seconds: float) -> dict[str, float]:
        """One run. Raises DeviceError or Unreachable."""
        folder = folder / f"{self.name}-{time.monotonic_ns()}"
        folder.mkdir()
        names = [(f"a{number}", f"b{number}") for number in range(self.pairs)]
        sites = [SiteSpec(name, Kind.PUBLIC) for pair in names for name in pair]
        with Lab(*sites) as lab, LabPrograms(lab, folder) as programs, ExitStack() as transfers:
            programs.start_server(*ours.server_options)
            assert programs.server is not None
            for number in range(0, self.pairs, _TOGETHER):
                _start(lab, programs, names[number : number + _TOGETHER], ours.home_options)
            for one, other in names:
                way = (lab, lab.sites[one].host, lab.sites[other].host, programs.address(other))
                transfers.enter_context(transfer(*way, _LONGEST, *_WINDOW))
            time.sleep(_WARM_UP)
            values = _measure(programs, [other for _, other in names], max(seconds, _LEAST_SECONDS))
            kinds = [programs.wait_peer(*pair, lambda entry: entry["path"] is not None, "on a path") for pair in names]
            return values | {
                "pairs": self.pairs,
                "circuits": sum(entry["path"]["kind"] == "relay-udp" for entry in kinds) / len(kinds),
            }


def _start(lab: Lab, programs: LabPrograms, names: Sequence[tuple[str, str]], options: Sequence[str]) -> None:
    """Start some pairs, each in a network of its own, and wait until they answer."""
    for pair in names:
        for name in pair:
            programs.start_node(lab.sites[name].host, name, "--relay-only", *options, network=pair[0])
    for pair in names:
        programs.wait_ready(*pair, patience=_STARTING)
        wait_answer(lab, lab.sites[pair[0]].host, programs.address(pair[1]), _STARTING)


def _measure(programs: LabPrograms, receivers: list[str], seconds: float) -> dict[str, float]:
    assert programs.server is not None
    server = (programs.server.pid,)
    nodes = [programs.nodes[name] for name in receivers]
    began, used = time.monotonic(), cpu_seconds(server)
    before = [received_bytes(node.process.pid, node.tun) for node in nodes]
    time.sleep(seconds)
    took, used = time.monotonic() - began, cpu_seconds(server) - used
    after = [received_bytes(node.process.pid, node.tun) for node in nodes]
    shares = [later - earlier for earlier, later in zip(before, after, strict=True)]
    total = max(1, sum(shares))
    return {
        "jain": jain_index(shares),
        "gbit": total * 8 / took / 1e9,
        "least": min(shares) * len(shares) / total,
        "server_cpu_per_gb": used * 1e9 / total,
        "server_rss": memory(server).now,
    }
