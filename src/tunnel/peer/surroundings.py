"""What one peer connection sees of the node around it. The node implements it; tests may do so too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tunnel.crypto.node_keys import NodeKeys
from tunnel.dataplane.flow_index import Indexed
from tunnel.model.announcement import PeerCard
from tunnel.model.endpoint import Endpoint
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.timings import Timings
from tunnel.model.way import Way
from tunnel.network.ports import Clock, Entropy
from tunnel.peer.handshake_limit import HandshakeLimit
from tunnel.peer.probe_budget import PredictionTurn
from tunnel.wire.frames import Kind
from tunnel.wire.signals import Signal


class Surroundings(Protocol):
    """The node, as far as a peer connection may know it."""

    @property
    def keys(self) -> NodeKeys:
        """Our static keys."""
        ...

    @property
    def network(self) -> NetworkId:
        """The network that we are in."""
        ...

    @property
    def psk(self) -> bytes:
        """The network's pre-shared key, 32 bytes."""
        ...

    @property
    def epoch(self) -> bytes:
        """This process start, 16 bytes."""
        ...

    @property
    def timings(self) -> Timings:
        """All durations."""
        ...

    @property
    def clock(self) -> Clock:
        """Wall clock, for history only."""
        ...

    @property
    def entropy(self) -> Entropy:
        """All randomness."""
        ...

    @property
    def own_card(self) -> PeerCard | None:
        """Our latest announcement, once one was made."""
        ...

    @property
    def is_announced(self) -> bool:
        """Whether the server acknowledged an announcement that holds a survey's verdict."""
        ...

    @property
    def registrations(self) -> int:
        """How often the server has welcomed us; 0 before the first time."""
        ...

    @property
    def is_registered(self) -> bool:
        """Whether the link to the server stands now."""
        ...

    @property
    def mtu(self) -> int:
        """Largest inner packet."""
        ...

    def sockets(self) -> Sequence[tuple[int, bool]]:
        """Number and family (True: IPv6) of each open UDP socket."""
        ...

    def transmit(self, way: Way, peer: NodeId, datagram: bytes, ttl: int | None = None) -> bool:
        """Send now or not at all. False: dropped."""
        ...

    def send_signal(self, signal: Signal) -> bool:
        """To the server, if the link stands. False: not sent."""
        ...

    def claim_index(self, kind: Kind, index: int | None, owner: Indexed) -> int:
        """Receive datagrams of this kind with this index; None draws a free one. A taken one is shared in turn."""
        ...

    def release_index(self, kind: Kind, index: int, owner: Indexed) -> None:
        """No longer."""
        ...

    def want_circuit(self, peer: NodeId) -> None:
        """The relay carries to this peer and is in use: get a circuit and keep it bound. To be said again and again."""
        ...

    def doubt_circuit(self, peer: NodeId) -> None:
        """Nothing is answered over the circuit: bind it anew, now."""
        ...

    def may_probe(self, host: str) -> bool:
        """Whether the node's budget has one more probe for a way to this address that is not proved."""
        ...

    def may_answer(self, host: str) -> bool:
        """Whether the budget has one more answer for this address, from where no probe of ours was answered yet."""
        ...

    def is_nested(self, host: str) -> bool:
        """Whether what we send to this address leaves by an interface that wraps it, another VPN's for example."""
        ...

    @property
    def carried(self) -> int:
        """Bytes of packets that applications have sent into the tunnel, to whomever."""
        ...

    def hush(self, seconds: float, *, is_wanted: bool) -> bool:
        """Let nothing of applications into the tunnel for so long. False: not now, it was quiet too much already.

        Peers that somebody here sends to (`is_wanted`) come before the others.
        """
        ...

    @property
    def handshake_limit(self) -> HandshakeLimit:
        """How many handshake messages are looked into."""
        ...

    async def wait_prediction_turn(self, patience: float) -> PredictionTurn | None:
        """The right to punch hard, alone in this node, and its budget; None where it is not to be had in time."""
        ...

    async def open_punch_socket(self) -> int | None:
        """One more IPv4 socket, until it is closed; None when the machine gives none."""
        ...

    def close_punch_socket(self, number: int) -> None:
        """Close it; one that is closed already is nothing."""
        ...

    async def enclose(self, number: int, act: Callable[[], None]) -> tuple[Endpoint | None, Endpoint | None]:
        """Where our server saw a socket just before and just after `act`, which is called at once; None: not seen."""
        ...

    @property
    def note_spoken(self) -> Callable[[NodeId], None]:
        """Is told of each node that this machine sends data to, once."""
        ...

    def suspect_network(self) -> None:
        """A path in use went silent: ping the server and look at our own addresses, soon."""
        ...
