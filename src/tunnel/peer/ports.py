"""What a peer connection uses of its node: one small protocol for each real object. `NodePorts` holds them all.

Only parts.py takes `NodePorts` apart: each part of a connection is handed the ports that it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tunnel.dataplane.flow import Overflows
from tunnel.dataplane.flow_index import FlowIndex
from tunnel.dataplane.outbound import Outbound
from tunnel.model.announcement import PeerCard
from tunnel.model.endpoint import Endpoint
from tunnel.model.identity import NodeId
from tunnel.model.way import Way
from tunnel.peer.handshake_limit import HandshakeLimit
from tunnel.peer.probe_budget import ProbeBudget
from tunnel.wire.signals import Signal


class ServerPort(Protocol):
    """The link to the server."""

    @property
    def is_registered(self) -> bool:
        """Whether the link stands now."""
        ...

    @property
    def registrations(self) -> int:
        """How often the server has welcomed us; 0 before the first time."""
        ...

    def send_signal(self, signal: Signal) -> bool:
        """Queue a signal. False: there is no link."""
        ...

    def send_relay(self, handle: bytes, datagram: bytes) -> bool:
        """Hand a sealed datagram to the relay, for the node with this handle. False: dropped."""
        ...


class OwnAnnouncement(Protocol):
    """What we announce of ourselves."""

    @property
    def card(self) -> PeerCard | None:
        """Our latest announcement, once one was made."""
        ...

    @property
    def is_verdict_acknowledged(self) -> bool:
        """Whether the server acknowledged an announcement that holds a survey's verdict."""
        ...


class DatagramSockets(Protocol):
    """The node's UDP sockets."""

    def families(self) -> Sequence[tuple[int, bool]]:
        """Number and family (True: IPv6) of each socket that stays open."""
        ...

    def send(self, way: Way, datagram: bytes, ttl: int | None = None) -> bool:
        """Send now or not at all. False: dropped."""
        ...


class PunchSockets(Protocol):
    """IPv4 sockets that are opened for one punch, and what our server sees of them."""

    async def open(self) -> int | None:
        """The number of one more socket, open until it is closed; None when the machine gives none."""
        ...

    def close(self, number: int) -> None:
        """Close it; one that is closed already is ignored."""
        ...

    async def enclose(self, number: int, act: Callable[[], None]) -> tuple[Endpoint | None, Endpoint | None]:
        """Where our server saw a socket just before and just after `act`, which is called at once; None: not seen."""
        ...


class Circuits(Protocol):
    """Circuits of the UDP relay."""

    def want(self, node: NodeId) -> None:
        """The relay carries to this peer and is in use: get a circuit and keep it bound. Repeat while it holds."""
        ...

    def doubt(self, node: NodeId) -> None:
        """Nothing is answered over the circuit: bind it anew, now."""
        ...


class ApplicationTraffic(Protocol):
    """What applications send into the tunnel."""

    @property
    def carried(self) -> int:
        """Bytes so far, to all peers."""
        ...

    def hush(self, seconds: float, *, is_wanted: bool) -> bool:
        """Let no packet of applications into the tunnel for so long. False: not now, they waited too much already.

        Peers that this machine sends to (`is_wanted`) come before the others.
        """
        ...


class Overlays(Protocol):
    """The interfaces of this machine that wrap what they send: those of another VPN, for example."""

    def is_nested(self, host: str) -> bool:
        """Whether what we send to this address leaves by one."""
        ...


class NetworkWatch(Protocol):
    """Finds out whether this machine is in another network."""

    def suspect_network(self) -> None:
        """A path in use went silent: ping the server and look at our own addresses, soon."""
        ...


class NameHolders(Protocol):
    """Which node a name stands for."""

    def note_spoken(self, node: NodeId) -> None:
        """This machine sends data to the node. Called once a connection."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePorts:
    """The node, as far as a peer connection may know it."""

    server: ServerPort
    announcement: OwnAnnouncement
    datagrams: DatagramSockets
    punch_sockets: PunchSockets
    indices: FlowIndex
    overflows: Overflows
    outbound: Outbound
    circuits: Circuits
    traffic: ApplicationTraffic
    overlays: Overlays
    watch: NetworkWatch
    names: NameHolders
    probe_budget: ProbeBudget
    handshake_limit: HandshakeLimit
