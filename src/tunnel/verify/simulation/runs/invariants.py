"""What must hold in every run, whatever its scenario; observed from outside, in packets and traffic."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator
from typing import TypeAlias

import trio

from tunnel.verify.memory.packet import Fate, MemoryPacket
from tunnel.verify.simulation.runs.failure import Failure
from tunnel.verify.simulation.runs.programs import Programs
from tunnel.verify.simulation.runs.trace import Signalled
from tunnel.verify.simulation.runs.traffic import MARK
from tunnel.wire.frames import BASE_SIZE, Kind

FLOWS_A_SECOND = 200
FLOW_BURST = 400
"""A burst of flows that a quiet node may start with."""
FLOWS_A_PUNCH = 2048
PUNCH = 20.0
"""Seconds: no hole punching takes longer."""
SOCKETS = 256
SOCKETS_A_SECOND = 112
"""A hundred, those that stay open, and what a token bucket had saved."""
PLAIN_FLOWS = 100
"""Flows to one address during one punch: more means that ports are guessed, which is done for one peer at a time."""
FLOW_MEMORY = 120.0
"""Seconds for which a router remembers a flow: probing it again costs no new entry."""
PROOF_AGE = 20.0
"""Seconds before `connected` in which full-size probes must have gone both ways."""
RESTORED_SOON = 1.0
"""Seconds until the addresses of a tunnel interface are back after they were first removed."""
RESTORED_LATE = 62.0
"""The same if they are removed again and again."""
OVERLAY_UNNOTICED = 8.0
"""Seconds until a path that an overlay has taken over is detected and left: it is distrusted after 6.5."""
ANSWER_PATIENCE = 12.0
"""Seconds after a `connect` by which the server must have answered."""


_Flow: TypeAlias = tuple[int, str, int]
"""A socket's port, a remote address, a remote port."""


class _Flows:
    """The flows that the probes of one host opened."""

    def __init__(self, last: dict[_Flow, float] | None = None, heard: dict[_Flow, float] | None = None) -> None:
        self.last = last or {}
        """When each flow was last used."""
        self.heard = heard or {}
        """When a probe last came in on it."""
        self.ports: dict[int, float] = {}
        """The ports of sockets, and when each last opened a new flow."""
        self.new_ports: deque[float] = deque()
        self.within_punch: deque[tuple[float, str]] = deque()
        self.to_host: Counter[str] = Counter()
        """The flows of `within_punch`, by remote address."""
        self.within_second: deque[float] = deque()

    def note(self, flow: _Flow, now: float) -> bool:
        """Record a probe on this flow. Returns whether a router had to create an entry for it."""
        last, self.last[flow] = self.last.get(flow, -FLOW_MEMORY), now
        if now - max(last, self.heard.get(flow, -FLOW_MEMORY)) < FLOW_MEMORY:
            return False
        port, host, _ = flow
        if now - self.ports.get(port, -PUNCH) >= PUNCH:
            _push(self.new_ports, now, 1.0)
        self.ports[port] = now
        if len(self.ports) > SOCKETS:
            self.ports = {port: used for port, used in self.ports.items() if now - used < PUNCH}
        self.within_punch.append((now, host))
        self.to_host[host] += 1
        while self.within_punch[0][0] < now - PUNCH:
            self.to_host[self.within_punch.popleft()[1]] -= 1
        _push(self.within_second, now, 1.0)
        return True

    def note_answerable(self, flow: _Flow, now: float) -> None:
        """Record a probe that came in on this flow: its sender has opened it, so an answer opens nothing."""
        self.heard[flow] = now

    def guessed_hosts(self) -> int:
        """At how many addresses the host guesses ports."""
        return sum(count > PLAIN_FLOWS for count in self.to_host.values())


class InvariantMonitor:
    """Checks the invariants on each packet, as its host sends it and as it arrives."""

    def __init__(self) -> None:
        self.faults: list[Failure] = []
        self.probes: dict[str, int] = {}
        """Probes sent so far, by host."""
        self._flows: dict[str, _Flows] = {}
        self._full_probes: dict[str, float] = {}

    def note_start(self, host: str) -> None:
        """A program starts on a host. It does not know what an earlier one opened: each has its own budget."""
        if (before := self._flows.get(host)) is not None:
            self._flows[host] = _Flows(last=before.last, heard=before.heard)

    def see_sent(self, host: str, packet: MemoryPacket) -> None:
        """A host sends a packet; no NAT has seen it yet."""
        payload = packet.payload
        if MARK in payload:
            self._report(host, f"sends what an application said in the clear to {packet.destination}")
        if packet.segment is None and payload[:1] == _PROBE:
            self.probes[host] = self.probes.get(host, 0) + 1
            self._count_flow(host, packet)

    def see_arrival(self, host: str, packet: MemoryPacket, fate: Fate) -> None:
        """A packet has come to a host."""
        is_probe = fate is Fate.DELIVERED and packet.segment is None and packet.payload[:1] == _PROBE
        if not is_probe:
            return
        if len(packet.payload) >= BASE_SIZE:
            self._full_probes[host] = trio.current_time()
        flow = (packet.destination.port, packet.source.host, packet.source.port)
        self._flows.setdefault(host, _Flows()).note_answerable(flow, trio.current_time())

    def see_encapsulated(self, host: str, packet: MemoryPacket, age: float) -> None:
        """A host sends a packet through an overlay in its own tunnel, which has been up for `age` seconds.

        Probes are allowed, else the overlay could not be detected; and data until it is detected, on a path that was
        a true one before.
        """
        if age > OVERLAY_UNNOTICED and packet.payload[:1] in _PAYLOADS:
            self._report(host, f"sends data to {packet.destination}, a way that leads through the tunnel itself")

    def flows(self, host: str) -> int:
        """How many flows the probes of a host have opened so far."""
        return len(self._flows[host].last) if host in self._flows else 0

    def judge_connected(self, host: str, *bearers: str) -> None:
        """Check, when a host calls its peer connected, that full-size probes have arrived at both lately.

        Several hosts may bear the peer's id, if its disk was copied: any of them counts.
        """
        now = trio.current_time()
        peer = max(bearers, key=lambda bearer: self._full_probes.get(bearer, -math.inf))
        for side in (host, peer):
            if now - self._full_probes.get(side, -math.inf) > PROOF_AGE:
                self._report(host, f"is connected to {peer}, but no full-size probe has reached {side} lately")

    def _count_flow(self, host: str, packet: MemoryPacket) -> None:
        flows = self._flows.setdefault(host, _Flows())
        flow = (packet.source.port, packet.destination.host, packet.destination.port)
        if not flows.note(flow, trio.current_time()):
            return
        if len(flows.within_punch) > FLOWS_A_PUNCH:
            told = f"{len(flows.within_punch)} flows within {PUNCH:g} s, more than {FLOWS_A_PUNCH}"
            self._report(host, f"opened {told}")
        if len(flows.within_second) > FLOWS_A_SECOND + FLOW_BURST:
            self._report(host, f"opened {len(flows.within_second)} flows within a second")
        if len(flows.ports) > SOCKETS:
            self._report(host, f"probes from {len(flows.ports)} sockets")
        if len(flows.new_ports) > SOCKETS_A_SECOND:
            self._report(host, f"begins to probe from {len(flows.new_ports)} sockets within a second")
        if flows.to_host[flow[1]] == PLAIN_FLOWS + 1 and flows.guessed_hosts() > 1:
            self._report(host, f"guesses ports at {flows.guessed_hosts()} addresses at once")

    def _report(self, host: str, what: str) -> None:
        if len(self.faults) < 20:
            now = trio.current_time()
            self.faults.append(Failure(now, f"at {now:.3f} s {host} {what}", (host,)))


def faults_in_traffic(programs: Programs) -> Iterator[Failure]:
    """Datagrams that came out of a tunnel twice, or altered."""
    for traffic in programs.traffic.values():
        about, now = (traffic.who, traffic.to), trio.current_time()
        if traffic.damaged:
            told = f"{traffic.damaged} datagrams from {traffic.who} to {traffic.to} came out other than they went in"
            yield Failure(now, told, about)
        if traffic.repeated:
            yield Failure(now, f"{traffic.repeated} datagrams from {traffic.who} to {traffic.to} came out twice", about)


def faults_in_interfaces(programs: Programs) -> Iterator[Failure]:
    """Tunnel interfaces that lacked addresses for longer than it takes to restore them."""
    now = trio.current_time()
    for host, node in programs.nodes.items():
        for device in programs.net.hosts[host].devices.open.values():
            link = device.link
            if {each.partition("/")[0] for each in link.addresses} != set(node.program.addresses):
                told = f"{device.name} of {host} has {', '.join(link.addresses)}, which is not the node's"
                yield Failure(now, told, (host,))
            gaps = link.gaps_until(now)
            if gaps and (gaps[0] > RESTORED_SOON or max(gaps) > RESTORED_LATE):
                yield Failure(now, f"{device.name} of {host} was without addresses for {max(gaps):.1f} s", (host,))


def faults_in_words(programs: Programs) -> Iterator[Failure]:
    """A server that took a `connect` and said nothing."""
    asked = answered = 0
    for record in programs.trace.records:
        if isinstance(record, Signalled) and record.host == "server":
            if record.tag == "connect" and not record.is_sent:
                asked += 1
            elif record.is_sent and record.tag in ("pending", "refused"):
                answered += 1
    if asked > answered:
        yield Failure(trio.current_time(), f"the server was asked for {asked} introductions and answered {answered}")


def _push(times: deque[float], now: float, window: float) -> None:
    times.append(now)
    while times[0] < now - window:
        times.popleft()


_PROBE = bytes([Kind.PROBE])
_PAYLOADS = (bytes([Kind.DATA]), bytes([Kind.CONTROL]))
