"""One address family's port mapping, lived: asked for, watched, renewed at half its life, asked for again when lost.

The survey, the announcement and the relay never wait for it. What a gateway says is believed as far as that costs
nothing: an endpoint that it names is one more candidate.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress

import trio

from tunnel.machines.notifier import Notifier
from tunnel.machines.port_mapping import PortMappingChart
from tunnel.machines.state_runner import StateRunner
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, Unreachable
from tunnel.model.port_mapping import PortMappingStatus
from tunnel.model.routes import Gateway
from tunnel.model.timings import Timings, rung
from tunnel.nat.gateways.lease import PortLease, is_contradicted
from tunnel.nat.gateways.race import PortClients
from tunnel.network.ports import Interfaces

log = logging.getLogger(__name__)


class PortMappingStates:
    """`await run()` in a task, `await leave()` once at the end. `changed()` is told when there may be another lease.

    `port` is that of our socket in this family.
    """

    def __init__(
        self,
        interfaces: Interfaces,
        clients: PortClients,
        *,
        port: int,
        is_ipv6: bool,
        timings: Timings,
        changed: Callable[[], None],
    ) -> None:
        self._interfaces = interfaces
        self._clients = clients
        self._port = port
        self._is_ipv6 = is_ipv6
        self._timings = timings
        self._changed = changed
        self._gateway: Gateway | None = None
        self._refusal = ""
        self._told: str | None = None
        """Why there is no port, as the log has it."""
        self._doubt = Notifier()
        self._is_doubted = False
        self._looked = -math.inf
        self._failures = self._losses = 0
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self.lease: PortLease | None = None
        """What the gateway granted, as far as we know; kept while a lost one is asked for again."""
        self.runner = StateRunner(
            PortMappingChart(),
            {"probing": self._probe, "mapped": self._watch, "renewing": self._renew},
            patience=self._patience,
            facts=dict,
            on_move=self._note_move,
            about=self.family,
        )

    @property
    def family(self) -> str:
        """ipv4 or ipv6."""
        return "ipv6" if self._is_ipv6 else "ipv4"

    def status(self, seen: Sequence[Endpoint] = ()) -> PortMappingStatus:
        """For people; `seen` is where STUN servers see us."""
        lease = self.lease
        if lease is None:
            return PortMappingStatus(self.family, self.runner.state, note=self._refusal)
        left = None if lease.is_permanent else max(0.0, lease.ends - trio.current_time())
        note = ""
        if not lease.is_public:
            note = "that address is not a public one: another NAT stands before the gateway"
        elif is_contradicted(lease.external, seen):
            note = "we are seen at another address: another NAT stands before the gateway, or it names a wrong one"
        return PortMappingStatus(
            self.family, self.runner.state, lease.protocol, lease.gateway.address, lease.external, left, note
        )

    def doubt(self) -> None:
        """Something is wrong with a path or with our outer address: look soon whether the gateway still knows us."""
        self._is_doubted = True
        self._doubt.notify()

    def note_network(self) -> None:
        """Addresses or routes changed. With another gateway, or another address towards it, begin anew; else `doubt`
        is enough, and where nobody opened a port so far they are asked again.
        """
        is_elsewhere = self._find_gateway() != self._gateway
        if is_elsewhere:
            self.lease = None
            if not self._is_ipv6:
                self._clients.upnp.forget()
        if is_elsewhere or self.runner.state == "unsupported":
            self._failures = self._losses = 0
            self.runner.post("network_changed")
            self._changed()

    async def run(self) -> None:
        """Until `leave`, or until cancelled. A bug of ours costs the mapping, never the node."""
        try:
            with self._scope:
                await self.runner.run()
        except Exception:
            log.exception("port mapping failed", extra={"family": self.family})
            self.lease, self._refusal = None, "a bug in the node: its log holds a traceback"
            self._changed()
        finally:
            self._ended.set()

    async def leave(self) -> None:
        """Take the mapping back. Bound the time; a gateway that does not answer forgets it when the lease ends."""
        self._scope.cancel()
        await self._ended.wait()
        if self.lease is not None:
            with suppress(Unreachable, Refused):
                await self._clients.of(self.lease.protocol).unmap_port(self.lease)
            self.lease = None

    # What happens in the states.

    async def _probe(self) -> str:
        self._gateway = gateway = self._find_gateway()
        if self.lease is not None and self.lease.gateway != gateway:
            self.lease = None
        if gateway is None:
            await trio.lowlevel.checkpoint()
            self._refusal = "no gateway on the way out"
            return "refused"
        self.runner.check_send("map")
        try:
            self.lease = await self._clients.map_first(gateway, self._port, self._timings.port_lease, self.lease)
        except Refused as refusal:
            self._refusal = refusal.text
            return "refused"
        self._is_doubted = False
        return "granted"

    async def _watch(self) -> str:
        """A gateway that does not answer may be starting again: it is asked again soon."""
        lease = await self._held()
        wait = self._timings.port_watch
        while True:
            with trio.move_on_after(wait):
                await self._doubt.wait_until(lambda: self._is_doubted)
            await trio.sleep_until(self._looked + self._timings.port_doubt_gap)
            self._looked, self._is_doubted = trio.current_time(), False
            self.runner.check_send("look")
            try:
                if not await self._clients.of(lease.protocol).holds_port(lease):
                    return "forgotten"
                wait = self._timings.port_watch
            except Unreachable:
                wait = self._timings.port_watch_silent

    async def _renew(self) -> str:
        lease = await self._held()
        while True:
            self.runner.check_send("map")
            try:
                self.lease = await self._clients.of(lease.protocol).map_port(
                    lease.gateway, lease.internal_port, self._timings.port_lease, lease
                )
            except Refused as refusal:
                self._refusal = str(refusal)
                return "refused"
            except Unreachable as error:
                self._refusal = str(error)
                await trio.sleep(max(self._timings.port_least_renewal, (lease.ends - trio.current_time()) / 8))
                continue
            return "granted"

    async def _held(self) -> PortLease:
        """The lease of this state. Where the network changed in this very moment there is none, and the state ends."""
        if self.lease is None:
            await trio.sleep_forever()
        assert self.lease is not None
        return self.lease

    def _patience(self, state: str) -> float:
        match state:
            case "probing":
                return self._timings.port_probe
            case "mapped":
                half = math.inf if self.lease is None else self.lease.since + self.lease.lifetime / 2
                return max(self._timings.port_least_renewal, half - trio.current_time())
            case "renewing":
                ends = math.inf if self.lease is None else self.lease.ends
                return max(self._timings.port_least_renewal, ends - trio.current_time())
            case "lost":
                self._losses += 1
                return rung(self._timings.port_lost, self._losses - 1)
            case "unsupported":
                self._failures += 1
                return rung(self._timings.port_retries, self._failures - 1)
            case _:
                return math.inf

    def _note_move(self, source: str, event: str, target: str) -> None:
        lease = self.lease
        if target == "unsupported":
            if event == "patience_ended":
                self._refusal = "the gateway takes too long"
            self.lease = None
            level = logging.DEBUG if self._refusal == self._told else logging.INFO
            log.log(level, "no port mapping", extra={"family": self.family, "why": self._refusal})
            self._told = self._refusal
        elif target == "mapped" and lease is not None:
            self._failures, self._told = 0, None
            if source == "renewing":
                self._losses = 0
            facts = {"family": self.family, "protocol": lease.protocol.value, "public": lease.is_public}
            log.info("port mapped" if source == "probing" else "port mapping renewed", extra=facts)
        elif target == "lost":
            log.info("port mapping lost", extra={"family": self.family, "event": event})
        self._changed()

    def _find_gateway(self) -> Gateway | None:
        found = self._interfaces.gateways()
        return next((gateway for gateway in found if gateway.is_ipv6 == self._is_ipv6), None)
