"""All protocols at once: the first that maps a port wins.

    PCP      map ------------------------------------> granted     one round trip
    NAT-PMP  external address --(PCP failed)--> map -> granted     the same service of the same gateway: in turn
    UPnP     search for a second ------------> map --> granted     in a process of its own

PCP and NAT-PMP use one service with one table, so NAT-PMP requests a port only when PCP has failed, or has had its
time. A loser is cancelled; a UPnP search that is cancelled maps nothing, or deletes its mapping.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from tunnel.model.endpoint import Scope, scope_of
from tunnel.model.errors import Refused, Unreachable
from tunnel.model.port_mapping import PortProtocol
from tunnel.model.routes import Gateway
from tunnel.nat.gateways.lease import LOWEST_PORT, PortClient, PortLease
from tunnel.nat.gateways.nat_pmp import NatPmpClient
from tunnel.nat.gateways.pcp import PcpClient
from tunnel.nat.gateways.upnp import UpnpClient

PCP_LEAD = 0.25
"""Seconds for which NAT-PMP, once answered, waits for PCP, the better of the two."""


@dataclass(slots=True)
class PortClients:
    """The clients of the three protocols, and their race."""

    pcp: PcpClient
    nat_pmp: NatPmpClient
    upnp: UpnpClient

    def of(self, protocol: PortProtocol) -> PortClient:
        """The client of this protocol."""
        match protocol:
            case PortProtocol.PCP:
                return self.pcp
            case PortProtocol.NAT_PMP:
                return self.nat_pmp
            case PortProtocol.UPNP:
                return self.upnp

    async def map_first(
        self, gateway: Gateway, internal_port: int, lifetime: float, held: PortLease | None = None
    ) -> PortLease:
        """A lease by the protocol that grants one first. For a public address PCP alone is used, for a pinhole.

        `held` is one that may have ended: its external port is suggested. Raises Refused with what each of them said.
        """
        if internal_port < LOWEST_PORT:
            raise Refused("port_too_low", f"gateways open no ports below {LOWEST_PORT}")
        race = _Race()
        attempts = {PortProtocol.PCP: lambda: self.pcp.map_port(gateway, internal_port, lifetime, held)}
        if not gateway.is_ipv6 and scope_of(gateway.own) is not Scope.GLOBAL:
            attempts[PortProtocol.NAT_PMP] = lambda: self._map_after_pcp(race, gateway, internal_port, lifetime, held)
            attempts[PortProtocol.UPNP] = lambda: self.upnp.map_port(gateway, internal_port, lifetime, held)
        async with trio.open_nursery() as nursery:
            for protocol, attempt in attempts.items():
                nursery.start_soon(race.run, protocol, attempt, nursery.cancel_scope)
        if race.won is None:
            said = [f"{one.value}: {race.failures[one]}" for one in PortProtocol if one in race.failures]
            raise Refused("not_mapped", "; ".join(said))
        return race.won

    async def _map_after_pcp(
        self, race: _Race, gateway: Gateway, internal_port: int, lifetime: float, held: PortLease | None
    ) -> PortLease:
        await self.nat_pmp.ask_address(gateway)
        with trio.move_on_after(PCP_LEAD):
            await race.pcp_failed.wait()
        return await self.nat_pmp.map_port(gateway, internal_port, lifetime, held)


@dataclass(slots=True)
class _Race:
    """Which protocol has won, and what the others said."""

    won: PortLease | None = None
    failures: dict[PortProtocol, str] = field(default_factory=dict)
    pcp_failed: trio.Event = field(default_factory=trio.Event)

    async def run(
        self, protocol: PortProtocol, attempt: Callable[[], Awaitable[PortLease]], race: trio.CancelScope
    ) -> None:
        try:
            lease = await attempt()
        except (Unreachable, Refused) as error:
            self.failures[protocol] = str(error)
            if protocol is PortProtocol.PCP:
                self.pcp_failed.set()
            return
        if self.won is None:
            self.won = lease
            race.cancel()
