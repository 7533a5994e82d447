"""What is done in the states of one address family's port mapping: ask for it, watch it, renew it at half its life.

The survey, the announcement and the relay never wait for it. A gateway that lies costs little: the endpoint that it
names is one more candidate. State and lease are one value, which changes when the chart moves.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Held:
    """What we have, in which state."""

    state: str
    lease: PortLease | None = None
    """What the gateway granted; kept while a lost one is asked for again."""
    refusal: str = ""
    """Why there is none, or why there was none the last time."""


class PortMappingStates:
    """`await run()` in a task, `await leave()` once at the end. `news` is notified when `held` has changed.

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
        news: Notifier,
    ) -> None:
        self._interfaces = interfaces
        self._clients = clients
        self._port = port
        self._is_ipv6 = is_ipv6
        self._timings = timings
        self._news = news
        self._gateway: Gateway | None = None
        self._outcome: PortLease | str | None = None
        """What the activity has got: a lease, or the text of a refusal. It takes effect when the chart moves."""
        self._told: str | None = None
        """Why there is no port, as logged last."""
        self._doubt = Notifier()
        self._is_doubted = False
        self._looked = -math.inf
        self._failures = self._losses = 0
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self.runner = StateRunner(
            PortMappingChart(),
            {"probing": self._probe, "mapped": self._watch, "renewing": self._renew},
            patience=self._patience,
            facts=dict,
            on_move=self._note_move,
            about=self.family,
        )
        self.held = Held(self.runner.state)

    @property
    def lease(self) -> PortLease | None:
        """What the gateway granted, as far as we know."""
        return self.held.lease

    @property
    def family(self) -> str:
        """ipv4 or ipv6."""
        return "ipv6" if self._is_ipv6 else "ipv4"

    def status(self, seen: Sequence[Endpoint] = ()) -> PortMappingStatus:
        """As `status` shows it. `seen` is where STUN servers see us."""
        state, lease = self.held.state, self.held.lease
        if lease is None:
            return PortMappingStatus(self.family, state, note=self.held.refusal)
        left = None if lease.is_permanent else max(0.0, lease.ends - trio.current_time())
        note = ""
        if not lease.is_public:
            note = "that address is not public: the gateway is behind another NAT"
        elif is_contradicted(lease.external, seen):
            note = "we are seen at another address: the gateway is behind another NAT, or names a wrong address"
        return PortMappingStatus(self.family, state, lease.protocol, lease.gateway.address, lease.external, left, note)

    def doubt(self) -> None:
        """Something is wrong with a path or our outer address: check soon whether the gateway still has the mapping."""
        self._is_doubted = True
        self._doubt.notify()

    def note_network(self) -> None:
        """Addresses or routes changed. With another gateway, or another address toward it, begin anew. If there was no
        port so far, ask again. Else `doubt` is enough.
        """
        is_elsewhere = self._find_gateway() != self._gateway
        if is_elsewhere and not self._is_ipv6:
            self._clients.upnp.forget()
        if is_elsewhere or self.runner.state == "unsupported":
            self._failures = self._losses = 0
            self.runner.post("network_changed")

    async def run(self) -> None:
        """Until `leave`, or until cancelled. A bug of ours costs the mapping, never the node."""
        try:
            self._gateway = self._find_gateway()
            with self._scope:
                await self.runner.run()
        except Exception:
            log.exception("port mapping failed", extra={"family": self.family})
            self.held = Held(self.runner.state, refusal="a bug in the node: its log holds a traceback")
            self._news.notify()
        finally:
            self._ended.set()

    async def leave(self) -> None:
        """Delete the mapping. Bound the time: if the gateway does not answer, the lease ends by itself."""
        self._scope.cancel()
        await self._ended.wait()
        lease = self._outcome if isinstance(self._outcome, PortLease) else self.lease
        if lease is not None:
            with suppress(Unreachable, Refused):
                await self._clients.of(lease.protocol).unmap_port(lease)
            self.held = Held(self.runner.state)

    # What happens in the states.

    async def _probe(self) -> str:
        if self._gateway is None:
            await trio.lowlevel.checkpoint()
            self._outcome = "no gateway on the default route"
            return "refused"
        self.runner.check_send("map")
        try:
            self._outcome = await self._clients.map_first(
                self._gateway, self._port, self._timings.port_lease, self.lease
            )
        except Refused as refusal:
            self._outcome = refusal.text
            return "refused"
        self._is_doubted = False
        return "granted"

    async def _watch(self) -> str:
        """Check now and then. A gateway that does not answer may be restarting: it is asked again soon."""
        lease = self.lease
        assert lease is not None
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
        lease = self.lease
        assert lease is not None
        while True:
            self.runner.check_send("map")
            try:
                self._outcome = await self._clients.of(lease.protocol).map_port(
                    lease.gateway, lease.internal_port, self._timings.port_lease, lease
                )
            except Refused as refusal:
                self._outcome = str(refusal)
                return "refused"
            except Unreachable as error:
                self._outcome = str(error)
                await trio.sleep(max(self._timings.port_least_renewal, (lease.ends - trio.current_time()) / 8))
                continue
            return "granted"

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
        lease, refusal = self.lease, self.held.refusal
        match self._outcome:
            case PortLease() as granted:
                lease = granted
            case str() as words:
                refusal = words
        self._outcome = None
        if target == "probing":
            self._gateway = self._find_gateway()
            lease = lease if lease is not None and lease.gateway == self._gateway else None
        elif target == "unsupported":
            lease = None
            if event == "patience_ended":
                refusal = "the gateway takes too long"
            level = logging.DEBUG if refusal == self._told else logging.INFO
            log.log(level, "no port mapping", extra={"family": self.family, "why": refusal})
            self._told = refusal
        elif target == "mapped" and lease is not None:
            self._failures, self._told = 0, None
            if source == "renewing":
                self._losses = 0
            facts = {"family": self.family, "protocol": lease.protocol.value, "public": lease.is_public}
            log.info("port mapped" if source == "probing" else "port mapping renewed", extra=facts)
        elif target == "lost":
            log.info("port mapping lost", extra={"family": self.family, "event": event})
        self.held = Held(target, lease, refusal)
        self._news.notify()

    def _find_gateway(self) -> Gateway | None:
        found = self._interfaces.gateways()
        return next((gateway for gateway in found if gateway.is_ipv6 == self._is_ipv6), None)
