"""How often, how soon and at what cost birthday punching opens a path between real kernel NATs. Needs root.

    python bench/birthday.py               # ten runs
    python bench/birthday.py --runs 50     # what is promised: 47 of them direct within 15 s
    python bench/birthday.py --easy double --hard cgnat_symmetric

A port-restricted NAT against one that gives each flow a random port. Each run has freshly started nodes and routers
with empty tables; its clock starts with the first ping. The cost is what the routers saw: entries of their connection
tables between the two public addresses (flows), and the local ports among them (sockets). Exits with 1 if fewer than
94 % were direct in time, or a side exceeded the budget of a punch.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from tunnel.model.errors import Unreachable
from tunnel.verify.netlab import Host, Kind, Lab, Site, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms

ONE_WAY = 10.0
"""Milliseconds between a site and the internet."""
IN_TIME = 15.0
GOAL = 0.94
INSISTING = 30.0
"""Seconds until a run is given up."""
MAX_SOCKETS, MAX_FLOWS = 256, 2048
_ENTRY = re.compile(r"src=(\S+) dst=(\S+) sport=(\d+)")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one router saw of a punch."""

    sockets: int
    flows: int

    @property
    def is_within_budget(self) -> bool:
        return self.sockets <= MAX_SOCKETS and self.flows <= MAX_FLOWS


@dataclass(frozen=True, slots=True)
class Run:
    """One punch: seconds from the first ping until both were direct, None if they never were."""

    direct_after: float | None
    easy: Cost
    hard: Cost
    reason: str

    @property
    def is_in_time(self) -> bool:
        return self.direct_after is not None and self.direct_after <= IN_TIME


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Birthday punching behind real kernel NATs.")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--together", type=int, default=2, help="runs at the same time, on routers of their own")
    parser.add_argument("--easy", type=Kind, default=Kind.PORT_PRESERVING)
    parser.add_argument("--hard", type=Kind, default=Kind.SYMMETRIC)
    arguments = parser.parse_args()
    runs = measure(arguments.easy, arguments.hard, arguments.runs, arguments.together)
    print(describe(runs))
    in_time = sum(run.is_in_time for run in runs)
    is_cheap = all(run.easy.is_within_budget and run.hard.is_within_budget for run in runs)
    return 0 if in_time >= GOAL * len(runs) and is_cheap else 1


def measure(easy: Kind, hard: Kind, count: int, together: int) -> list[Run]:
    """The results of so many runs, in the order in which they ended."""
    specs = [
        SiteSpec(f"{side}{lane}", kind, delay=ONE_WAY)
        for lane in range(together)
        for side, kind in (("e", easy), ("h", hard))
    ]
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in range(1, count + 1):
        waiting.put(number)
    runs: list[Run] = []
    failures: list[BaseException] = []
    with tempfile.TemporaryDirectory() as folder, Lab(*specs) as lab, LabPrograms(lab, Path(folder)) as lab_programs:
        lab_programs.start_server()
        lab_programs.make_invite()

        def work(lane: int) -> None:
            sites = lab.sites[f"e{lane}"], lab.sites[f"h{lane}"]
            while not failures:
                try:
                    number = waiting.get_nowait()
                except Empty:
                    return
                try:
                    run = punch(lab, lab_programs, *sites)
                except BaseException as failure:
                    failures.append(failure)
                    return
                runs.append(run)
                print(
                    f"{number}/{count}",
                    _seconds(run.direct_after),
                    run.easy,
                    run.hard,
                    run.reason,
                    sep="  ",
                    file=sys.stderr,
                    flush=True,
                )

        lanes = [threading.Thread(target=work, args=(lane,)) for lane in range(together)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
    if failures:
        raise failures[0]
    return runs


def punch(lab: Lab, lab_programs: LabPrograms, easy: Site, hard: Site) -> Run:
    """One run: the side that is easy to reach pings the other."""
    names = (easy.name, hard.name)
    for site in (easy, hard):
        lab.forget_mappings(site)
        lab_programs.start_node(site.host, site.name)
    try:
        lab_programs.wait_ready(*names)
        pinging = lab_programs.start_ping(*names)
        asked = pinging.wait_answer().asked
        try:
            entries = lab_programs.wait_direct(*names, INSISTING)
        except Unreachable:
            direct_after = None
        else:
            direct_after = (
                max(move["at"] for entry in entries for move in entry["history"] if move["to"] == "connected") - asked
            )
        costs = cost(lab, easy, hard), cost(lab, hard, easy)
        entry = lab_programs.peer(*names)
        reason = (
            ""
            if entry is None or entry["reason"] is None
            else f"{entry['reason']['code']}: {entry['reason']['evidence']}"
        )
        pinging.stop()
    finally:
        for name in names:
            lab_programs.stop_node(name)
    return Run(direct_after, *costs, reason)


def cost(lab: Lab, site: Site, peer: Site) -> Cost:
    """The entries of the outer router of a site toward the peer's public address."""
    table = lab.run(Host("router", site.edge, site.wan), ["conntrack", "-L", "-p", "udp"])
    flows = [(source, port) for source, target, port in _ENTRY.findall(table) if target == peer.wan]
    return Cost(len(set(flows)), len(flows))


def describe(runs: Sequence[Run]) -> str:
    """A summary of a few lines."""
    times = sorted(run.direct_after for run in runs if run.direct_after is not None)
    in_time = sum(run.is_in_time for run in runs)
    lines = [f"{in_time} of {len(runs)} direct within {IN_TIME:g} s, {len(times)} within {INSISTING:g} s"]
    if times:
        marks = " ".join(
            f"p{mark} {times[min(len(times) - 1, len(times) * mark // 100)]:.1f}" for mark in (10, 50, 90, 95)
        )
        lines.append(f"seconds to direct: {marks} longest {times[-1]:.1f}")
    for side in ("easy", "hard"):
        costs = [getattr(run, side) for run in runs]
        for what in ("sockets", "flows"):
            spent = [getattr(one, what) for one in costs]
            lines.append(f"{what} of the {side} side: median {statistics.median(spent):g}, most {max(spent)}")
    return "\n".join(lines)


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f} s"


if __name__ == "__main__":
    sys.exit(main())
