"""What we announce about ourselves as the facts are now: our NAT, candidates and addresses. It keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tunnel.model.announcement import Announcement
from tunnel.model.nat import NatReport
from tunnel.model.settings import NodeSettings
from tunnel.nat.candidates import gather
from tunnel.network.datagrams import DatagramSocket
from tunnel.network.ports import Interfaces
from tunnel.node.identity import Identity
from tunnel.node.lease import Lease
from tunnel.node.nat_discovery import NatDiscovery
from tunnel.node.port_mappings import PortMappings
from tunnel.node.tun_interface import Interface

_NOTHING_KNOWN = NatReport()


class LocalAnnouncement:
    """Composes the announcement from the lease, NAT discovery, port mappings, interfaces and sockets."""

    def __init__(
        self,
        settings: NodeSettings,
        identity: Identity,
        lease: Lease,
        *,
        interface: Interface,
        interfaces: Interfaces,
        sockets: Sequence[DatagramSocket],
        nat_discovery: NatDiscovery,
        port_mappings: PortMappings,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._lease = lease
        self._interface = interface
        self._interfaces = interfaces
        self._sockets = sockets
        self._nat_discovery = nat_discovery
        self._port_mappings = port_mappings

    def nat(self) -> NatReport:
        """What is known of our NAT."""
        survey = self._nat_discovery.result
        report = _NOTHING_KNOWN if survey is None else survey.report
        return replace(report, port_mapping=self._port_mappings.protocol)

    def announcement(self) -> tuple[Announcement, bool]:
        """The body to announce, and whether a survey's verdict is in it."""
        survey, settings = self._nat_discovery.result, self._settings
        candidates = (
            ()
            if settings.relay_only
            else gather(
                self._interfaces.addresses(),
                [socket.local for socket in self._sockets],
                survey=survey,
                declared=settings.external,
                mapped=self._port_mappings.endpoints,
                exclude=self._lease.addresses,
            )
        )
        body = Announcement(
            name=settings.name,
            static_key=self._identity.keys.public,
            addresses=self._lease.addresses,
            candidates=candidates,
            nat=self.nat(),
            relay_only=settings.relay_only,
            claimed_since=self._lease.since,
            takes_ip=self._interface.is_open,
            protocol_version=settings.protocol_version,
        )
        return body, survey is not None or not settings.survey
