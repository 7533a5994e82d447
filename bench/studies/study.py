"""One run of a pair of nodes, from the first packet to the verdict: the grid and the population consist of these."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import trio

from tunnel.model.nat import NatReport
from tunnel.model.settings import NodeSettings
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.verify.reachability.topology import SERVER, Topology
from tunnel.verify.simulation.runs.programs import Programs
from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.scenarios.action import Send
from tunnel.verify.simulation.scenarios.scenario import NodePlan, Scenario

ONE, OTHER = "one", "other"
READY = 4.0
"""Seconds after the start at which the first packet is sent: surveys have ended by then."""
PATIENCE = 15.0
"""Seconds after the first packet for which a direct path is waited for; the punch itself gives up after ten."""
STEP = 0.02
"""Seconds between two polls, and so the resolution of the times."""


@dataclass(frozen=True, slots=True)
class PairResult:
    """The result of a pair. Times are seconds after the first packet."""

    state: str
    """The state of `one` at the end."""
    path: str
    """direct, relay-udp, relay-websocket, or none."""
    reason: str
    """Why it is not direct; none if it is."""
    first_byte: float | None
    """When the first packet came through the tunnel; None if none did."""
    direct: float | None
    """When both sides had a direct path; None if they never had."""
    probes: int
    """Probes sent by both together."""
    flows: int
    """Flows that both together opened in routers."""
    nats: tuple[NatReport | None, ...]
    """What each of the two knew of its NAT at the end; None for a node that did not run."""
    relay_rtt: float
    """The round trip by way of the server, on lines without load."""
    failures: tuple[str, ...]
    """Invariants that did not hold."""

    @property
    def is_direct(self) -> bool:
        """Whether both had a direct path."""
        return self.direct is not None


def study_pair(
    topology: Topology, seed: int, *, patience: float = PATIENCE, ready: float = READY, guesses: bool = True
) -> PairResult:
    """Run two real nodes on the hosts `one` and `other` of the topology, and its server.

    The nodes ask the server's STUN service and the topology's public servers. The first packet is sent `ready` seconds
    after the start. Without `guesses` they punch plainly, whatever their NATs. Deterministic in all arguments.
    """
    stun = tuple(f"{server.name}:{server.port}" for server in topology.stun_servers)
    timings = DEFAULT_TIMINGS if guesses else replace(DEFAULT_TIMINGS, prediction_after=math.inf)
    plans = {
        host: NodePlan(settings=NodeSettings(name=host, default_stun=False, stun=stun, timings=timings))
        for host in (ONE, OTHER)
    }
    watch = _Watch(patience, ready)
    scenario = Scenario(name="pair", title="a pair", topology=topology, nodes=plans)
    outcome = run_scenario(scenario, seed, script=watch.look_on)
    return PairResult(
        state=watch.state,
        path=watch.path,
        reason=watch.reason,
        first_byte=watch.first_byte,
        direct=watch.direct,
        probes=sum(outcome.probes.values()),
        flows=sum(outcome.flows.values()),
        nats=watch.nats,
        relay_rtt=2.0 * sum(_seconds_to_server(topology, host) for host in (ONE, OTHER)),
        failures=outcome.failures,
    )


def _seconds_to_server(topology: Topology, host: str) -> float:
    """One way, on a line without load."""
    name, behind = host, topology.hosts[host].behind
    seconds = topology.hosts[host].line.latency
    while behind is not None:
        name, router = behind, topology.routers[behind]
        seconds, behind = seconds + router.line.latency, router.behind
    ways = topology.latencies
    return seconds + ways.get((name, SERVER), ways.get((SERVER, name), topology.latency))


class _Watch:
    """Observes one pair while it runs."""

    def __init__(self, patience: float, ready: float) -> None:
        self._patience = patience
        self._ready = ready
        self.state = self.path = self.reason = "none"
        self.first_byte: float | None = None
        self.direct: float | None = None
        self.nats: tuple[NatReport | None, ...] = (None, None)

    async def look_on(self, programs: Programs) -> None:
        await trio.sleep_until(self._ready)
        async with trio.open_nursery() as nursery:
            end = self._ready + self._patience
            nursery.start_soon(programs.send, Send(at=self._ready, who=ONE, to=OTHER, until=end))
            while (after := trio.current_time() - self._ready) < self._patience:
                if self.direct is None and _is_direct(programs, ONE, OTHER) and _is_direct(programs, OTHER, ONE):
                    self.direct = after
                if self.direct is not None and programs.traffic_between(ONE, OTHER).arrived:
                    break
                await trio.sleep(STEP)
            nursery.cancel_scope.cancel()
        self.first_byte = programs.traffic_between(ONE, OTHER).first_after
        nodes = [programs.nodes.get(host) for host in (ONE, OTHER)]
        self.nats = tuple(None if node is None else node.status().nat for node in nodes)
        peer = programs.peer(ONE, OTHER)
        if peer is not None:
            self.state = peer.state
            self.path = "none" if peer.path is None else peer.path.kind
            self.reason = "none" if peer.reason is None else peer.reason.code.value


def _is_direct(programs: Programs, who: str, of: str) -> bool:
    peer = programs.peer(who, of)
    path = None if peer is None else peer.path
    return peer is not None and path is not None and peer.state == "connected" and path.kind == "direct"
