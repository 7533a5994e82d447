"""What `status` shows: the node and its peers as they are now. It keeps nothing."""

from __future__ import annotations

from dataclasses import replace

from tunnel.model.invite import Invite
from tunnel.model.offload import Offload
from tunnel.model.settings import NodeSettings
from tunnel.model.status import NodeStatus, PeerStatus, ServerStatus
from tunnel.node.announcer import Announcer
from tunnel.node.identity import Identity
from tunnel.node.local_announcement import LocalAnnouncement
from tunnel.node.nat_discovery import NatDiscovery
from tunnel.node.own_addresses import OwnAddresses
from tunnel.node.peer_table import PeerTable
from tunnel.node.port_mappings import PortMappings
from tunnel.node.refusals import remedy_for
from tunnel.node.server_link import ServerLink
from tunnel.node.tun_interface import Interface
from tunnel.node.udp_sockets import UdpSockets
from tunnel.peer.connection import PeerConnection


class StatusReport:
    """Composes `NodeStatus` and `PeerStatus`. `proxy_notes` are notes on the proxies in the environment."""

    def __init__(
        self,
        settings: NodeSettings,
        invite: Invite,
        identity: Identity,
        own: OwnAddresses,
        peer_table: PeerTable,
        *,
        announcer: Announcer,
        interface: Interface,
        link: ServerLink,
        port_mappings: PortMappings,
        local_announcement: LocalAnnouncement,
        nat_discovery: NatDiscovery,
        sockets: UdpSockets,
        proxy_notes: tuple[str, ...],
    ) -> None:
        self._settings = settings
        self._invite = invite
        self._identity = identity
        self._own = own
        self._peer_table = peer_table
        self._announcer = announcer
        self._interface = interface
        self._link = link
        self._port_mappings = port_mappings
        self._local_announcement = local_announcement
        self._nat_discovery = nat_discovery
        self._sockets = sockets
        self._proxy_notes = proxy_notes

    def node(self) -> NodeStatus:
        """A frozen view of everything."""
        return NodeStatus(
            id=str(self._identity.keys.id),
            name=self._settings.name,
            addresses=self._own.addresses,
            takes_ip=self._interface.is_open,
            interface=self._interface.status,
            uses_udp=self._settings.udp,
            nat=self._local_announcement.nat(),
            announcement=self._announcer.state,
            server=self._server(),
            peers=tuple(self.peer(peer) for peer in sorted(self._peer_table, key=lambda peer: peer.node)),
            notes=(
                *self._own.notes,
                *self._peer_table.notes,
                *self._nat_discovery.notes,
                *self._link.notes,
                *self._proxy_notes,
                *self._interface.notes,
            ),
            offloads=tuple(offload.value for offload in Offload if offload in self._offloads),
            port_mappings=self._port_mappings.statuses(self._nat_discovery.reflexive),
        )

    def peer(self, peer: PeerConnection) -> PeerStatus:
        """The status of its connection, with notes on what hinders it on this machine."""
        status = peer.status()
        note = self._own.note_on(status.addresses)
        return replace(status, notes=tuple(filter(None, (note,))))

    @property
    def _offloads(self) -> frozenset[Offload]:
        return self._sockets.offloads | self._interface.offloads

    def _server(self) -> ServerStatus:
        link = self._link
        return ServerStatus(
            self._invite.server,
            link.state,
            link.rtt if link.is_registered else None,
            None if link.is_registered else link.reason,
            None if link.failure is None else remedy_for(link.failure),
        )
