"""The programs of one run on their machines: the real server and nodes, and simulated public STUN servers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256

import trio

from tunnel.crypto.network_keys import derive_network_keys
from tunnel.embedding import Node, Peer, open_node
from tunnel.machines.notifier import Notifier
from tunnel.machines.trace_hook import TRACE_HOOK
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import PeerUnreachable
from tunnel.model.invite import Invite
from tunnel.model.settings import ServerSettings
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.server.program import serve
from tunnel.server.stun_service import serve_stun
from tunnel.verify.memory.host import MemoryHost
from tunnel.verify.reachability.topology import SERVER, Honesty, StunServer
from tunnel.verify.simulation.internet.simulated_network import SimulatedNetwork
from tunnel.verify.simulation.runs.failure import Failure
from tunnel.verify.simulation.runs.frozen_programs import FrozenPrograms
from tunnel.verify.simulation.runs.interface_traffic import InterfaceTraffic
from tunnel.verify.simulation.runs.kept_leases import KeptLeases
from tunnel.verify.simulation.runs.stun_liar import serve_lies
from tunnel.verify.simulation.runs.trace import Frozen, HostTraceHook, Moved, Trace
from tunnel.verify.simulation.runs.traffic import Traffic
from tunnel.verify.simulation.scenarios.action import Send
from tunnel.verify.simulation.scenarios.scenario import NodePlan, Scenario

log = logging.getLogger(__name__)

WANTED = 30.0


def invite_of(network: str, server: Endpoint) -> Invite:
    """The invite of a simulated network, whose secret is the hash of its name."""
    secret = sha256(b"simulated network " + network.encode()).digest()
    return Invite(f"ws://{server}", None, network, derive_network_keys(network, secret).network_id, secret)


@dataclass(slots=True)
class _Program:
    """A running program: how to end it, and whether it was killed."""

    trace_hook: HostTraceHook
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    is_killed: bool = False


class Programs:
    """Starts and ends programs, all in the nursery of the run.

    `on_start(host, node id)` is called for each node that started, `on_move` for each transition of any chart.
    """

    def __init__(
        self,
        scenario: Scenario,
        net: SimulatedNetwork,
        trace: Trace,
        nursery: trio.Nursery,
        *,
        on_start: Callable[[str, str], None],
        on_move: Callable[[Moved], None],
    ) -> None:
        self.scenario = scenario
        self.net = net
        self.trace = trace
        self.nodes: dict[str, Node] = {}
        """The running nodes, by host."""
        self.traffic: dict[tuple[str, str], Traffic] = {}
        self.crashes: list[Failure] = []
        self.changed = Notifier()
        """Notified when a node has started or ended."""
        self.settings = {host: plan.settings for host, plan in scenario.nodes.items()}
        """The settings with which each node starts the next time."""
        self._nursery = nursery
        self._on_start = on_start
        self._on_move = on_move
        self._programs: dict[str, _Program] = {}
        self._frozen = FrozenPrograms()
        self._interfaces = InterfaceTraffic(net.hosts, list(scenario.nodes), self.nodes, self.traffic)
        self._leases = KeptLeases(net.hosts[SERVER].store)

    async def open(self) -> None:
        """Start the public STUN servers."""
        for server in self.scenario.topology.stun_servers:
            if server.honesty is not Honesty.SILENT:
                await self._nursery.start(self._serve_public_stun, server)

    def start(self, who: str) -> None:
        """Start the program of a host, or the server. A running one is left alone."""
        if who in self._programs:
            return
        program = self._programs[who] = _Program(HostTraceHook(who, self.trace, self._on_move))
        run = self._run_server if who == SERVER else partial(self._run_node, who, self.scenario.nodes[who])
        context = copy_context()
        context.run(TRACE_HOOK.set, program.trace_hook)
        context.run(self._nursery.start_soon, self._run, who, program, run)

    def stop(self, who: str) -> None:
        """End a program as SIGTERM does."""
        if who in self._programs:
            self._programs[who].scope.cancel()

    def freeze(self, who: str) -> Callable[[], None]:
        """Stop a program as SIGSTOP does. The result resumes it, if this call stopped it and it was not killed."""
        program = self._programs.get(who)
        if program is None or self._frozen.is_stopped(program.trace_hook):
            return lambda: None
        self._frozen.stop(program.trace_hook)
        self.trace.note(Frozen(trio.current_time(), who, is_stopped=True))
        return partial(self._go_on, who, program)

    def go_on(self) -> None:
        """Resume every stopped program."""
        for who, program in self._programs.items():
            self._go_on(who, program)

    def is_frozen(self, who: str) -> bool:
        """Whether the program of a host is stopped."""
        program = self._programs.get(who)
        return program is not None and self._frozen.is_stopped(program.trace_hook)

    def _go_on(self, who: str, program: _Program) -> None:
        if self._frozen.is_stopped(program.trace_hook):
            self._frozen.go_on(program.trace_hook)
            self.trace.note(Frozen(trio.current_time(), who, is_stopped=False))

    def kill(self, who: str) -> None:
        """Kill a program as kill -9 does. It may be started again at once."""
        program = self._programs.pop(who, None)
        if program is not None:
            self._frozen.go_on(program.trace_hook)
            program.is_killed = True
            program.trace_hook.close()
            self.net.hosts[who].kill()
            self._leave(who)
            program.scope.cancel()

    async def wait_ended(self, who: str) -> None:
        """Wait until a program that was told to end has ended."""
        if who in self._programs:
            await self._programs[who].ended.wait()

    def peer(self, who: str, of: str) -> Peer | None:
        """How a node sees the node of another host; None if it is not running or does not know that peer."""
        node = self.nodes.get(who)
        if node is None:
            return None
        try:
            return node.peer(self.scenario.nodes[of].settings.name)
        except PeerUnreachable:
            return None

    async def want(self, who: str, to: str) -> None:
        """Ask for a connection to a peer once, as soon as it is known."""
        while (peer := self.peer(who, to)) is None:
            await self._wait_news(who)
        with suppress(PeerUnreachable):
            await peer.wait_carried(WANTED)

    async def send(self, action: Send) -> None:
        """Send numbered datagrams through the tunnel until a moment. While no node runs they are lost."""
        traffic = self.traffic_between(action.who, action.to)
        while (now := trio.current_time()) < action.until:
            if not self.is_frozen(action.who):
                self._send_burst(action, traffic, now)
            await trio.sleep_until(now + action.every)

    def _send_burst(self, action: Send, traffic: Traffic, now: float) -> None:
        datagrams = [traffic.next_datagram(action.size, now) for _ in range(action.burst)]
        if action.ip is not None:
            self._interfaces.send(traffic, action.ip, datagrams, superpacket=action.superpacket)
        elif (peer := self.peer(action.who, action.to)) is not None:
            for datagram in datagrams:
                peer.send_datagram_nowait(datagram)

    def traffic_between(self, who: str, to: str) -> Traffic:
        """The record of what one host sends to another; from the first call on the receiver is read."""
        if (who, to) not in self.traffic:
            self.traffic[who, to] = Traffic(who, to)
            self._nursery.start_soon(self._read, self.traffic[who, to])
        return self.traffic[who, to]

    async def _read(self, traffic: Traffic) -> None:
        while True:
            peer = self.peer(traffic.to, traffic.who)
            if peer is None:
                await self._wait_news(traffic.to)
                continue
            node = self.nodes[traffic.to]
            async with trio.open_nursery() as reading:
                reading.start_soon(self._take_all, peer, traffic)
                await node.program.notifier.wait_until(lambda: self.peer(traffic.to, traffic.who) is None)
                reading.cancel_scope.cancel()

    async def _take_all(self, peer: Peer, traffic: Traffic) -> None:
        while True:
            traffic.note_arrival(await peer.receive_datagram(), trio.current_time())

    async def _wait_news(self, host: str) -> None:
        """Wait until something about this node changes, or it starts."""
        node = self.nodes.get(host)
        await (self.changed if node is None else node.program.notifier).wait()

    async def _run(self, who: str, program: _Program, run: Callable[[], Awaitable[None]]) -> None:
        try:
            with program.scope:
                await run()
        except (Exception, BaseExceptionGroup) as error:
            if not program.is_killed:
                log.exception("a program failed")
                self.crashes.append(Failure(trio.current_time(), f"{who}: {error!r}", (who,)))
        finally:
            program.trace_hook.close()
            program.ended.set()
            if self._programs.get(who) is program:
                del self._programs[who]
                self._leave(who)

    def _leave(self, who: str) -> None:
        node = self.nodes.pop(who, None)
        self.changed.notify()
        if node is not None:
            node.program.notifier.notify()

    async def _run_node(self, host: str, plan: NodePlan) -> None:
        server = self.scenario.topology.server
        invite = invite_of(plan.network, Endpoint(server.address, server.port))
        world = self.net.hosts[host].world()
        async with open_node(invite=invite, settings=self.settings[host], world=world) as node:
            self.nodes[host] = node
            self._on_start(host, node.id)
            self.changed.notify()
            await trio.sleep_forever()

    async def _run_server(self) -> None:
        place, plan = self.scenario.topology.server, self.scenario.server
        timings = DEFAULT_TIMINGS
        if plan.introduction_wait is not None:
            timings = replace(timings, introduction_wait=plan.introduction_wait)
        settings = ServerSettings(listen=Endpoint(place.address, place.port), udp=place.stun, timings=timings)
        if place.aliases:
            ports = tuple(dict.fromkeys(Endpoint("0.0.0.0", endpoint.port) for endpoint in place.stun))
            settings = replace(settings, listen=Endpoint("0.0.0.0", place.port), udp=ports)
        await serve(settings, self.net.hosts[SERVER].world(), tls=False, leases=self._leases)

    async def _serve_public_stun(
        self, server: StunServer, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        host: MemoryHost = self.net.hosts[server.name]
        world, local = host.world(), Endpoint(server.address, server.port)
        if server.honesty is Honesty.LYING:
            liar = await world.datagrams.open_socket(local)
            task_status.started()
            await serve_lies(liar)
        else:
            socket = await world.services.open_service_socket(local)
            task_status.started()
            await serve_stun([socket], rate_per_source=200.0)
