"""What befalls this machine: other addresses or routes, sleep, a copy of it. The node then doubts what it knew.

A path that went silent and a public address that changed are signs that it may stand in another network, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from tunnel.nat.survey import SurveyResult
from tunnel.network.ports import World
from tunnel.node.address_memory import AddressMemory
from tunnel.node.announcer import Announcer
from tunnel.node.circuits import Circuits
from tunnel.node.identity import Identity
from tunnel.node.nat_discovery import NatDiscovery
from tunnel.node.peer_table import PeerTable
from tunnel.node.port_mappings import PortMappings
from tunnel.node.server_link import ServerLink

log = logging.getLogger(__name__)


class MachineWatch:
    """Run `run()`. `look()` sees which of our tunnel addresses this machine lets us have; `changed()` is a beat."""

    def __init__(
        self,
        world: World,
        identity: Identity,
        peer_table: PeerTable,
        addresses: AddressMemory,
        *,
        announcer: Announcer,
        circuits: Circuits,
        link: ServerLink,
        port_mappings: PortMappings,
        nat_discovery: NatDiscovery,
        look: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._world = world
        self._identity = identity
        self._peer_table = peer_table
        self._addresses = addresses
        self._announcer = announcer
        self._circuits = circuits
        self._link = link
        self._port_mappings = port_mappings
        self._nat_discovery = nat_discovery
        self._look = look
        self._changed = changed
        self.observed = ""
        """The host that the server saw our link come from."""

    async def run(self) -> None:
        """Watch, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_interfaces)
            nursery.start_soon(self._watch_sleep)
            nursery.start_soon(self._watch_copies)

    def suspect_network(self) -> None:
        """A path went silent, or an address changed: does the server hear us, and are we somewhere else now?"""
        self._link.check()
        self._circuits.doubt_all()
        self._port_mappings.doubt()
        self._nat_discovery.suspect()

    def note_survey(self, result: SurveyResult, before: SurveyResult | None) -> None:
        """A link that was dialled from where we were before is worth nothing: dial again, and wait for no ping."""
        here = {mapped.host for mapped in result.reflexive}
        there = {mapped.host for mapped in before.reflexive} if before is not None else set()
        if before is not None and before.reflexive != result.reflexive:
            self._port_mappings.doubt()
        if here and there and here.isdisjoint(there) and self.observed not in here:
            log.info("public address changed")
            self._link.redial()

    def renew(self, why: str) -> None:
        """Where this memory runs twice, two nodes seal under the same keys and counters: only new keys help."""
        log.warning("this may be a copy of a machine that was running: drawing new keys", extra={"sign": why})
        self._identity.renew(self._world.entropy)
        for peer in self._peer_table:
            peer.renew()
        self._changed()

    async def _watch_interfaces(self) -> None:
        while True:
            await self._world.interfaces.wait_change()
            log.info("addresses or routes of this machine changed")
            self._addresses.forget()
            for peer in self._peer_table:
                peer.paths.doubt_proofs()
            self._look()
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
            self._link.redial()  # TLS has keys too; and whoever is welcomed announces himself anew
