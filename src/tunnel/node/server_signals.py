"""What the server says, and to whom it goes: welcomes and signals, relayed datagrams, the end of the link.

welcome            -> our addresses, NAT discovery, circuits, announcement, peers
announced          -> announcer             circuit, no_circuit -> circuits             all else -> peer_signals
relayed datagram   -> the data plane, if it is from a node that we have met
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import trio

from tunnel.dataplane.inbound import Inbound
from tunnel.machines.notifier import Notifier
from tunnel.model.identity import NodeId
from tunnel.network.nat64_resolver import Nat64Resolver
from tunnel.node.announcer import Announcer
from tunnel.node.circuits import Circuits
from tunnel.node.nat_discovery import NatDiscovery
from tunnel.node.own_addresses import OwnAddresses
from tunnel.node.peer_signals import PeerSignals
from tunnel.node.peer_table import PeerTable
from tunnel.node.server_admission import Connection
from tunnel.node.told_endpoints import place
from tunnel.wire.signals import Announced, Circuit, NoCircuit, Signal

log = logging.getLogger(__name__)


class ServerSignals:
    """Implements `server_link.LinkUser`."""

    def __init__(
        self,
        own: OwnAddresses,
        nat64: Nat64Resolver,
        peer_table: PeerTable,
        notifier: Notifier,
        *,
        announcer: Announcer,
        circuits: Circuits,
        inbound: Inbound,
        nat_discovery: NatDiscovery,
        peer_signals: PeerSignals,
    ) -> None:
        """`notifier` is notified when anything that `status` shows may have changed."""
        self._own = own
        self._nat64 = nat64
        self._peer_table = peer_table
        self._notifier = notifier
        self._announcer = announcer
        self._circuits = circuits
        self._inbound = inbound
        self._nat_discovery = nat_discovery
        self._peer_signals = peer_signals

    def note_welcome(self, connection: Connection) -> None:
        """The server has welcomed us on this connection: it tells our lease, and where it answers by UDP."""
        welcome = connection.welcome
        if connection.server is not None:
            self._nat64.note_heard(connection.server.host)
        self._own.take(welcome, connection.via)
        self._nat_discovery.note_welcome(place(welcome.stun, connection.server, connection.addresses))
        relay = place(welcome.relay, connection.server, connection.addresses)
        self._circuits.note_registered(self._nat64.reach(relay))
        self._announcer.note_registered()
        self._peer_signals.note_registered()
        self._peer_table.note_change()

    def note_lost(self) -> None:
        """The link has ended."""
        self._announcer.note_link_lost()
        self._peer_table.note_change()

    def hear_untrusted(self, signal: Signal) -> None:
        """One signal. A bug of ours costs the peer that it is about, never the link."""
        try:
            if isinstance(signal, Announced):
                self._announcer.note_acknowledged(signal.seq)
            elif isinstance(signal, Circuit | NoCircuit):
                self._circuits.hear_untrusted(signal)
            else:
                self._peer_signals.handle_untrusted(signal)
        except Exception as error:
            log.exception("signal failed", extra={"kind": type(signal).__name__})
            about = getattr(signal, "peer", None)
            if about is not None and (peer := self._peer_table.at(NodeId(about))) is not None:
                peer.fail(error)
        self._notifier.notify()

    def hear_relayed_untrusted(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Records and other messages that came over the link, each with the handle of the node that it is from."""
        knows = self._peer_signals.knows
        known = [record for handle, record in entries if knows(handle)]
        self._inbound.receive_relayed(known, trio.current_time())
