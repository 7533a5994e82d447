"""What the peer connections see of the node: keys, clocks, the server link and the ways out. It decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import trio

from tunnel.crypto.network_keys import NetworkKeys
from tunnel.crypto.node_keys import NodeKeys
from tunnel.dataplane.flow_index import FlowIndex, Indexed
from tunnel.model.announcement import PeerCard
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.settings import NodeSettings
from tunnel.model.timings import Timings
from tunnel.model.way import RELAY, Way
from tunnel.network.ports import Clock, Entropy, World
from tunnel.node.announcer import Announcer
from tunnel.node.circuits import Circuits
from tunnel.node.datagram_plane import DatagramPlane
from tunnel.node.identity import Identity
from tunnel.node.server_link import ServerLink
from tunnel.node.stun_queries import StunQueries
from tunnel.peer.handshake_limit import HandshakeLimit
from tunnel.peer.probe_budget import PredictionTurn, ProbeBudget
from tunnel.riders.loop_guard import LoopGuard
from tunnel.wire.frames import Kind
from tunnel.wire.signals import Signal

log = logging.getLogger(__name__)


class NodeSurroundings:
    """Implements `peer.surroundings.Surroundings`.

    `suspect()` is called when a path in use went silent, `stun_servers()` says where our own server answers STUN.
    """

    def __init__(
        self,
        settings: NodeSettings,
        identity: Identity,
        network: NetworkKeys,
        world: World,
        *,
        announcer: Announcer,
        link: ServerLink,
        datagrams: DatagramPlane,
        circuits: Circuits,
        indices: FlowIndex,
        guard: LoopGuard,
        suspect: Callable[[], None],
        note_spoken: Callable[[NodeId], None],
        stun_servers: Callable[[], Sequence[Endpoint]],
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._network = network
        self._world = world
        self._announcer = announcer
        self._link = link
        self._datagrams = datagrams
        self._circuits = circuits
        self._indices = indices
        self._guard = guard
        self._suspect = suspect
        self.note_spoken = note_spoken
        self._stun_servers = stun_servers
        self._probe_budget = ProbeBudget()
        self.handshake_limit = HandshakeLimit()
        self.stun_queries = StunQueries(
            lambda number, datagram, remote: datagrams.send(Way(number, remote), datagram, None), world.entropy.token
        )

    @property
    def keys(self) -> NodeKeys:
        """Our static keys."""
        return self._identity.keys

    @property
    def network(self) -> NetworkId:
        """The network that we are in."""
        return self._network.network_id

    @property
    def psk(self) -> bytes:
        """The network's pre-shared key."""
        return self._network.psk

    @property
    def epoch(self) -> bytes:
        """This process start."""
        return self._identity.epoch

    @property
    def timings(self) -> Timings:
        """All durations."""
        return self._settings.timings

    @property
    def clock(self) -> Clock:
        """Wall clock."""
        return self._world.clock

    @property
    def entropy(self) -> Entropy:
        """All randomness."""
        return self._world.entropy

    @property
    def mtu(self) -> int:
        """Largest inner packet."""
        return self._settings.mtu

    @property
    def own_card(self) -> PeerCard | None:
        """Our latest announcement."""
        return self._announcer.card

    @property
    def is_announced(self) -> bool:
        """Whether the server holds an announcement of ours that knows our NAT."""
        return self._announcer.is_verdict_acknowledged

    @property
    def registrations(self) -> int:
        """How often the server welcomed us."""
        return self._link.registrations

    @property
    def is_registered(self) -> bool:
        """Whether the link to the server stands."""
        return self._link.is_registered

    def sockets(self) -> Sequence[tuple[int, bool]]:
        """Number and family of each UDP socket."""
        return self._datagrams.families()

    def transmit(self, way: Way, peer: NodeId, datagram: bytes, ttl: int | None = None) -> bool:
        """Send on a way, now or not at all."""
        if way == RELAY:
            return self._link.send_relay(peer.handle, datagram)
        return self._datagrams.send(way, datagram, ttl)

    def send_signal(self, signal: Signal) -> bool:
        """To the server."""
        return self._link.send_signal(signal)

    def claim_index(self, kind: Kind, index: int | None, owner: Indexed) -> int:
        """Receive datagrams of a kind."""
        return self._indices.claim(kind, index, owner)

    def release_index(self, kind: Kind, index: int, owner: Indexed) -> None:
        """No longer."""
        self._indices.release(kind, index, owner)

    def want_circuit(self, peer: NodeId) -> None:
        """Get a circuit to this peer, and keep it."""
        self._circuits.want(peer)

    def doubt_circuit(self, peer: NodeId) -> None:
        """Bind it anew, now."""
        self._circuits.doubt(peer)

    def may_probe(self, host: str) -> bool:
        """Whether the budget of unproved ways has one more probe for this address."""
        return self._probe_budget.take(host, trio.current_time())

    def may_answer(self, host: str) -> bool:
        """Whether the budget of unproved ways has one more answer for this address."""
        return self._probe_budget.take_answer(host, trio.current_time())

    def is_nested(self, host: str) -> bool:
        """Whether an overlay takes what goes there."""
        return self._world.interfaces.is_nested(host)

    @property
    def carried(self) -> int:
        """Bytes that the tunnel took from applications."""
        return self._guard.carried

    def hush(self, seconds: float, *, is_wanted: bool) -> bool:
        """Keep applications waiting."""
        return self._guard.hush(seconds, is_wanted=is_wanted)

    async def wait_prediction_turn(self, patience: float) -> PredictionTurn | None:
        """The right to punch hard."""
        return await self._probe_budget.wait_turn(patience)

    async def open_punch_socket(self) -> int | None:
        """One more socket."""
        try:
            return await self._datagrams.open_extra()
        except DeviceError as error:
            log.info("no more sockets error=%s", error)
            return None

    def close_punch_socket(self, number: int) -> None:
        """Close it."""
        self._datagrams.close_extra(number)

    async def enclose(self, number: int, act: Callable[[], None]) -> tuple[Endpoint | None, Endpoint | None]:
        """Where our server saw a socket before and after an act."""
        servers = [server for server in self._stun_servers() if not server.is_ipv6]
        return await self.stun_queries.enclose(number, servers, act, self.timings.stun_retransmits[-1])

    def suspect_network(self) -> None:
        """A path went silent: is it the peer, or are we somewhere else now?"""
        self._suspect()
