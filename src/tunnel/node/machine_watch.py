"""What happens to this machine: other addresses or routes, sleep, a copy of it. The node then doubts what it knew.

A path that went silent and a public address that changed are signs of another network, too.
"""

from __future__ import annotations

import logging

import trio

from tunnel.network.ports import World
from tunnel.node.address_memory import AddressMemory
from tunnel.node.announcer import Announcer
from tunnel.node.circuits import Circuits
from tunnel.node.identity import Identity
from tunnel.node.nat_discovery import NatDiscovery
from tunnel.node.own_addresses import OwnAddresses
from tunnel.node.peer_table import PeerTable
from tunnel.node.port_mappings import PortMappings
from tunnel.node.server_link import ServerLink

log = logging.getLogger(__name__)


class MachineWatch:
    """Run `run()`; call `suspect_network` when a path went silent."""

    def __init__(
        self,
        world: World,
        identity: Identity,
        peer_table: PeerTable,
        own: OwnAddresses,
        memory: AddressMemory,
        *,
        announcer: Announcer,
        circuits: Circuits,
        link: ServerLink,
        port_mappings: PortMappings,
        nat_discovery: NatDiscovery,
    ) -> None:
        self._world = world
        self._identity = identity
        self._peer_table = peer_table
        self._own = own
        self._memory = memory
        self._announcer = announcer
        self._circuits = circuits
        self._link = link
        self._port_mappings = port_mappings
        self._nat_discovery = nat_discovery

    async def run(self) -> None:
        """Watch, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_surveys)
            nursery.start_soon(self._watch_interfaces)
            nursery.start_soon(self._watch_sleep)
            nursery.start_soon(self._watch_copies)
            nursery.start_soon(self._watch_twins)

    def suspect_network(self) -> None:
        """A path went silent, or an address changed: does the server hear us, and are we somewhere else now?"""
        self._link.check()
        self._circuits.doubt_all()
        self._port_mappings.doubt()
        self._nat_discovery.suspect()

    def renew(self, why: str) -> None:
        """Draw new keys: where this memory runs twice, two nodes seal under the same keys and counters."""
        log.warning("this may be a copy of a machine that was running: drawing new keys", extra={"sign": why})
        self._identity.renew(self._world.entropy)
        for peer in self._peer_table:
            peer.renew()
        self._peer_table.note_change()

    async def _watch_surveys(self) -> None:
        """A link that was dialed from another public address is dead: dial again without waiting for a ping."""
        known = await self._nat_discovery.wait_survey(None)
        while True:
            before, known = known, await self._nat_discovery.wait_survey(known)
            if before.reflexive != known.reflexive:
                self._port_mappings.doubt()
            here, there = ({mapped.host for mapped in survey.reflexive} for survey in (known, before))
            if here and there and here.isdisjoint(there) and self._link.observed not in here:
                log.info("public address changed")
                self._link.redial()

    async def _watch_interfaces(self) -> None:
        while True:
            await self._world.interfaces.wait_change()
            log.info("addresses or routes of this machine changed")
            self._memory.forget()
            for peer in self._peer_table:
                peer.note_network()
            self._own.look()
            self._link.hasten()
            self._port_mappings.note_network()
            self.suspect_network()
            self._nat_discovery.request()
            self._announcer.note_facts()

    async def _watch_sleep(self) -> None:
        while True:
            slept = await self._world.clock.wait_slept()
            log.info("this machine slept seconds=%.0f", slept)
            self._link.hasten()
            self.suspect_network()
            self._nat_discovery.request()

    async def _watch_copies(self) -> None:
        while True:
            self.renew(await self._world.clock.wait_copied())
            self._link.redial()  # TLS has keys too; and whoever is welcomed announces itself anew

    async def _watch_twins(self) -> None:
        while True:
            await self._link.wait_replaced()
            self.renew("another process has this node's key")
