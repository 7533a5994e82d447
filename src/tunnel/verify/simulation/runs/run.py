"""One run of a scenario with a seed, from the first packet to the verdict. The same seed gives the same run."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from tunnel.model.offload import TUN_OFFLOADS
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.memory.packet import Fate, MemoryPacket
from tunnel.verify.reachability.topology import SERVER
from tunnel.verify.simulation.internet.simulated_network import build_network
from tunnel.verify.simulation.runs.actions import perform
from tunnel.verify.simulation.runs.agreement import faults_in_agreement
from tunnel.verify.simulation.runs.conformance import Arrow, arrows_of, faults_of
from tunnel.verify.simulation.runs.expectations import Judge
from tunnel.verify.simulation.runs.failure import Failure
from tunnel.verify.simulation.runs.interface_ledger import InterfaceLedger
from tunnel.verify.simulation.runs.invariants import (
    InvariantMonitor,
    faults_in_interfaces,
    faults_in_traffic,
    faults_in_words,
)
from tunnel.verify.simulation.runs.programs import Programs
from tunnel.verify.simulation.runs.schedule import run_seeded
from tunnel.verify.simulation.runs.trace import Moved, Trace
from tunnel.verify.simulation.scenarios.scenario import Scenario

FAREWELL = 3.0
"""Seconds that programs have to end after the scenario's end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run."""

    scenario: str
    seed: int
    failures: tuple[str, ...]
    """What did not hold, in words; empty if the run passed."""
    digest: str
    """The SHA-256 of the trace, in hex."""
    arrows: frozenset[Arrow]
    """The transitions that the charts took."""
    packets: int
    seconds: float
    """Virtual seconds."""
    probes: dict[str, int]
    """Probes sent, by host."""
    flows: dict[str, int]
    """Flows that probes opened in routers (pairs of socket and remote endpoint), by host."""
    names: dict[str, str] = field(default_factory=dict)
    """Node ids to the names of their hosts."""
    failure: Failure | None = None
    """The failure that showed first; None also if the run broke."""
    trace: Trace | None = None

    @property
    def has_passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


def broken_outcome(scenario: str, seed: int, error: Exception) -> Outcome:
    """The outcome of a run that broke: a bug, or something impossible that was not noticed before it began."""
    leaf: BaseException = error
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    frames = traceback.extract_tb(leaf.__traceback__ or error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    failure = f"the run broke: {type(leaf).__name__}: {leaf}{where}"
    return Outcome(scenario, seed, (failure,), "", frozenset(), 0, 0.0, {}, {})


Script = Callable[[Programs], Awaitable[None]]
"""What a run does instead of waiting for the scenario's end. The run ends when the script returns."""


def run_scenario(scenario: Scenario, seed: int, *, keep_trace: bool = False, script: Script | None = None) -> Outcome:
    """Run a scenario in virtual time and judge it. Blocks until done, usually for a fraction of a second."""
    return run_seeded(partial(_Run(scenario, seed).run, keep_trace, script), seed)


class _Run:
    """One run: its internet, programs, trace, monitor and judge."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        self._seed = seed
        self._trace = Trace()
        self._monitor = InvariantMonitor()
        self._ledger = InterfaceLedger()
        self._packets = 0
        self._names: dict[str, str] = {}
        self._bearers: dict[str, list[str]] = {}
        """The hosts of each node id: several, if a disk was copied."""

    async def run(self, keep_trace: bool, script: Script | None) -> Outcome:
        scenario, trace = self._scenario, self._trace
        complaints = _Complaints()
        failures: list[Failure] = []
        with complaints:
            async with open_memory_internet(seed=self._seed, latency=scenario.topology.latency) as internet:
                internet.watch = self._see_packet
                net = build_network(internet, scenario.topology, seed=self._seed, on_sent=self._see_sent)
                net.on_encapsulated = self._monitor.see_encapsulated
                for name, plan in scenario.nodes.items():
                    net.hosts[name].on_arrival = partial(self._monitor.see_arrival, name)
                    devices = net.hosts[name].devices
                    devices.offloads = TUN_OFFLOADS if plan.offloads else frozenset()
                    devices.on_given = partial(self._ledger.note_given, name)
                    devices.on_written = partial(self._ledger.note_written, name)
                async with trio.open_nursery() as nursery:
                    programs = Programs(
                        scenario, net, trace, nursery, on_start=self._note_start, on_move=self._note_move
                    )
                    judge = Judge(programs)
                    await programs.open()
                    net.hosts[SERVER].clock.wall_offset = scenario.server.clock
                    for host, plan in scenario.nodes.items():
                        net.hosts[host].clock.wall_offset = plan.clock
                    if scenario.server.start is not None:
                        nursery.start_soon(self._start_at, programs, SERVER, scenario.server.start)
                    for host, plan in scenario.nodes.items():
                        if plan.start is not None:
                            nursery.start_soon(self._start_at, programs, host, plan.start)
                    judge.watch(nursery)
                    nursery.start_soon(perform, programs, scenario.actions, nursery)
                    await (trio.sleep_until(scenario.length) if script is None else script(programs))
                    seconds = trio.current_time()
                    judge.close()
                    failures += [*judge.failures, *faults_in_traffic(programs), *faults_in_words(programs)]
                    failures += faults_in_interfaces(programs)
                    failures += faults_in_agreement(
                        trace.records,
                        self._names,
                        {pair: traffic.sent for pair, traffic in programs.traffic.items()},
                        seconds,
                    )
                    failures += await self._end(programs)
                    nursery.cancel_scope.cancel()
        failures += [*self._monitor.faults, *self._ledger.faults, *complaints.failures]
        failures += [*programs.crashes, *faults_of(trace.records)]
        return Outcome(
            scenario=scenario.name,
            seed=self._seed,
            failures=tuple(failure.text for failure in failures),
            digest=trace.digest(),
            arrows=frozenset(arrows_of(trace.records)),
            packets=self._packets,
            seconds=seconds,
            probes=dict(self._monitor.probes),
            flows={host: self._monitor.flows(host) for host in scenario.nodes},
            names=self._names,
            failure=min(failures, key=lambda failure: failure.at, default=None),
            trace=trace if keep_trace else None,
        )

    def _see_sent(self, host: str, packet: MemoryPacket) -> None:
        self._monitor.see_sent(host, packet)
        self._trace.see_sent(host, packet)

    def _see_packet(self, packet: MemoryPacket, fate: Fate) -> None:
        self._packets += 1
        self._trace.see_packet(packet, fate)

    def _note_start(self, host: str, node: str) -> None:
        self._names[node] = host
        self._bearers.setdefault(node, []).append(host)
        self._monitor.note_start(host)

    def _note_move(self, move: Moved) -> None:
        if move.chart == "PeerConnectionChart" and move.target == "connected" and move.about in self._bearers:
            self._monitor.judge_connected(move.host, *self._bearers[move.about])

    async def _start_at(self, programs: Programs, who: str, at: float) -> None:
        await trio.sleep_until(at)
        programs.start(who)

    async def _end(self, programs: Programs) -> list[Failure]:
        """Tell all programs to end, nodes before the server. A program that does not end is a fault."""
        stubborn = []
        programs.go_on()
        for who in (*self._scenario.nodes, SERVER):
            programs.stop(who)
            with trio.move_on_after(FAREWELL) as farewell:
                await programs.wait_ended(who)
            if farewell.cancelled_caught:
                told = f"{who} did not end within {FAREWELL:g} s of being told to"
                stubborn.append(Failure(trio.current_time(), told, (who,)))
        return stubborn


class _Complaints(logging.Handler):
    """Errors that the programs log: a run in which one is logged has failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.failures: list[Failure] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        told = f"logged as an error: {record.getMessage()}" + (f" ({error!r})" if error else "")
        self.failures.append(Failure(trio.current_time(), told))

    def __enter__(self) -> _Complaints:
        logger = logging.getLogger("tunnel")
        logger.addHandler(self)
        self._was_propagating, logger.propagate = logger.propagate, False
        return self

    def __exit__(self, *exc: object) -> None:
        logger = logging.getLogger("tunnel")
        logger.removeHandler(self)
        logger.propagate = self._was_propagating
