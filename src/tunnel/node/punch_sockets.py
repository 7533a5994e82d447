"""IPv4 sockets that a peer connection opens for one punch, and where our own server sees them come out."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError
from tunnel.model.timings import Timings
from tunnel.network.ports import Entropy
from tunnel.node.nat_discovery import NatDiscovery
from tunnel.node.stun_queries import StunQueries
from tunnel.node.udp_sockets import UdpSockets

log = logging.getLogger(__name__)


class PunchSockets:
    """Implements `peer.ports.PunchSockets`. Hand STUN datagrams to `handle_untrusted`."""

    def __init__(
        self, datagrams: UdpSockets, nat_discovery: NatDiscovery, *, timings: Timings, entropy: Entropy
    ) -> None:
        self._datagrams = datagrams
        self._nat_discovery = nat_discovery
        self._timings = timings
        self._queries = StunQueries(datagrams, entropy)

    async def open(self) -> int | None:
        """One more socket; None when the machine gives none."""
        try:
            return await self._datagrams.open_extra()
        except DeviceError as error:
            log.info("no more sockets error=%s", error)
            return None

    def close(self, number: int) -> None:
        """Close it."""
        self._datagrams.close_extra(number)

    async def enclose(self, number: int, act: Callable[[], None]) -> tuple[Endpoint | None, Endpoint | None]:
        """Where our server saw a socket before and after an act."""
        servers = [server for server in self._nat_discovery.own if not server.is_ipv6]
        return await self._queries.enclose(number, servers, act, self._timings.stun_retransmits[-1])

    def handle_untrusted(self, socket: int, datagram: bytes, remote: Endpoint) -> None:
        """A STUN datagram; one that answers no question of ours changes nothing."""
        self._queries.handle_untrusted(socket, datagram, remote)
