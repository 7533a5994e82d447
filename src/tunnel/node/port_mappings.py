"""The node's port mappings: one for IPv4, and a pinhole for IPv6 where it has such a socket."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.endpoint import Endpoint
from tunnel.model.port_mapping import PortMappingStatus
from tunnel.model.settings import NodeSettings
from tunnel.nat.gateways.nat_pmp import NatPmpClient
from tunnel.nat.gateways.pcp import PcpClient
from tunnel.nat.gateways.race import PortClients
from tunnel.nat.gateways.upnp import UpnpClient
from tunnel.network.datagrams import DatagramSocket
from tunnel.network.ports import World
from tunnel.node.identity import Identity
from tunnel.node.port_mapping_states import PortMappingStates
from tunnel.wire.pcp import NONCE_BYTES

NO_PROTOCOL = "none"


class PortMappings:
    """`await run()` once the sockets are open; `await leave()` at the end. `news` is notified of each change.

    None is made if the settings say so, if only the relay is used, or in the address family of an endpoint that the
    user has declared: there a port is open already.
    """

    def __init__(
        self,
        settings: NodeSettings,
        identity: Identity,
        world: World,
        sockets: Sequence[DatagramSocket],
        news: Notifier,
    ) -> None:
        self._settings = settings
        self._world = world
        self._sockets = sockets
        self._news = news
        waits = settings.timings.port_waits
        self._clients = PortClients(
            PcpClient(world.datagrams, identity.keys.derive("pcp nonce", size=NONCE_BYTES), waits),
            NatPmpClient(world.datagrams, waits),
            UpnpClient(world.port_mapper, world.store),
        )
        self._mappings: list[PortMappingStates] = []

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where we can be reached, as gateways say."""
        return tuple(mapping.lease.external for mapping in self._mappings if mapping.lease is not None)

    @property
    def protocol(self) -> str:
        """The protocol of the first mapping, for the NAT report."""
        return next((one.lease.protocol.value for one in self._mappings if one.lease is not None), NO_PROTOCOL)

    def statuses(self, seen: Sequence[Endpoint]) -> tuple[PortMappingStatus, ...]:
        """One an address family; none where nothing is asked for. `seen` is where STUN servers see us."""
        return tuple(mapping.status(seen) for mapping in self._mappings)

    def doubt(self) -> None:
        """A path went silent, or we are seen at another address."""
        for mapping in self._mappings:
            mapping.doubt()

    def note_network(self) -> None:
        """Addresses or routes of this machine changed."""
        for mapping in self._mappings:
            mapping.note_network()

    async def run(self) -> None:
        """Until `leave`, or until cancelled."""
        if not self._settings.port_mapping or self._settings.relay_only:
            return
        declared = self._settings.external
        async with trio.open_nursery() as nursery:
            for socket in self._sockets:
                if declared is not None and declared.is_ipv6 == socket.local.is_ipv6:
                    continue
                mapping = PortMappingStates(
                    self._world.interfaces,
                    self._clients,
                    port=socket.local.port,
                    is_ipv6=socket.local.is_ipv6,
                    timings=self._settings.timings,
                    news=self._news,
                )
                self._mappings.append(mapping)
                nursery.start_soon(mapping.run)

    async def leave(self) -> None:
        """Delete all of them. Bound the time."""
        async with trio.open_nursery() as nursery:
            for mapping in self._mappings:
                nursery.start_soon(mapping.leave)
