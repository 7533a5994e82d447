"""The embedding library: a node inside your own Trio program.

    async with tunnel.open_node(invite=invite, name="desk") as node:
        peer = await node.connect("laptop")
        await peer.send_datagram(b"hello")

Structured: everything that a node starts ends with its block.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import trio

from tunnel.crypto.network_keys import open_invite
from tunnel.machines.background import bare_errors
from tunnel.model.errors import PeerUnreachable, SettingsError
from tunnel.model.invite import Invite
from tunnel.model.reasons import Reason
from tunnel.model.settings import NodeSettings
from tunnel.model.settings_check import check_node_settings, fit_name
from tunnel.model.status import NodeStatus, PathStatus, PeerStatus
from tunnel.nat.netcheck_report import NetcheckReport
from tunnel.network.ports import World
from tunnel.network.urls import ServerUrl
from tunnel.node.inboxes import Inboxes
from tunnel.node.peer_changes import PeerChange
from tunnel.node.peer_signals import Forgotten
from tunnel.node.program import NodeProgram
from tunnel.peer.connection import PeerConnection
from tunnel.wire.invites import encode_invite
from tunnel.wire.records import APPLICATION
from tunnel.wire.session_packets import MAX_APPLICATION_DATAGRAM

CONNECT_PATIENCE = 30.0
PING_PATIENCE = 5.0
SETTLE_PATIENCE = 20.0
_SETTLED = ("connected", "relayed", "closed")
NEWS_PATIENCE = 1.0
"""Seconds in which a server that has welcomed us has told who is there."""


@dataclass(frozen=True, slots=True)
class PingResult:
    """An answered ping: `rtt` in seconds, over this path, from the node with this id."""

    rtt: float
    path: PathStatus | None
    id: str


class Peer:
    """A peer, as the program uses it. Made by `Node.connect` and `Node.peer`."""

    def __init__(self, program: NodeProgram, connection: PeerConnection) -> None:
        self._program = program
        self._connection = connection
        self._inboxes = program.inboxes

    @property
    def id(self) -> str:
        """The peer's node id."""
        return str(self._connection.node)

    @property
    def name(self) -> str:
        """Its name here; empty if that is another node's: `status().claimed_name` is what it calls itself."""
        return self._connection.name

    @property
    def state(self) -> str:
        """detecting, announced, requested, punching, connected, relayed or closed."""
        return self._connection.state

    @property
    def path(self) -> PathStatus | None:
        """The path that carries data now; None if none does."""
        return self._connection.path_status()

    @property
    def reason(self) -> Reason | None:
        """Why there is no direct path; None while there is one."""
        return self.status().reason

    @property
    def is_present(self) -> bool:
        """Whether it has a link to the server, as far as we were told."""
        return self._connection.is_present

    @property
    def can_carry(self) -> bool:
        """Whether a datagram sent now has keys and a path."""
        return self._connection.can_carry

    def status(self) -> PeerStatus:
        """Everything about it, frozen."""
        return self._program.peer_status(self._connection)

    async def wait_carried(self, patience: float) -> bool:
        """Want this peer, and wait until data can flow, at most `patience` seconds.

        Raises PeerUnreachable at once if it is here and speaks another version.
        """
        self._connection.want()
        with trio.move_on_after(patience):
            await self._connection.notifier.wait_until(lambda: self.can_carry or self._is_foreign)
        self._check_version()
        return self.can_carry

    async def wait_settled(self, patience: float = SETTLE_PATIENCE) -> str:
        """Want this peer, and wait until it is `connected`, or `relayed` for a reason. Returns its state.

        After `patience` seconds that is the state of then.
        """
        self._connection.want()
        with trio.move_on_after(patience):
            await self._connection.notifier.wait_until(lambda: self.state in _SETTLED or self._is_foreign)
        return self.state

    @property
    def _is_foreign(self) -> bool:
        """Whether it is here and speaks another version: then nothing can be sent, however long we wait."""
        return self.is_present and self._connection.version_mismatch is not None

    def _check_version(self) -> None:
        if self._is_foreign:
            raise PeerUnreachable(f"no way to {self.name or self.id!r}{_because(self.reason)}")

    async def send_datagram(self, datagram: bytes) -> None:
        """Send up to 1279 bytes, unreliably and sealed. Raises SettingsError when it is longer.

        A peer of another version gets nothing: `reason` says so.
        """
        self.send_datagram_nowait(datagram)
        await trio.lowlevel.checkpoint()

    def send_datagram_nowait(self, datagram: bytes) -> None:
        """The same without a checkpoint: for programs that pace themselves, and for callers outside async functions."""
        if len(datagram) > MAX_APPLICATION_DATAGRAM:
            raise SettingsError(f"a datagram has at most {MAX_APPLICATION_DATAGRAM} bytes, this one {len(datagram)}")
        self._connection.send_packet(APPLICATION + datagram)

    async def receive_datagram(self) -> bytes:
        """The next datagram from this peer. At most 256 wait (256 KiB; 1 MiB for all peers); the oldest is dropped."""
        _check_kept(self._inboxes)
        return await self._inboxes.take(self._connection.node)

    async def ping(self) -> PingResult:
        """One round trip inside the session. Raises PeerUnreachable after 5 s, at once for another version."""
        self._check_version()
        with trio.move_on_after(PING_PATIENCE):
            return PingResult(await self._connection.echo(), self.path, self.id)
        reason = self.reason
        raise PeerUnreachable(f"{self.name or self.id} did not answer for {PING_PATIENCE:g} s" + _because(reason))


class Node:
    """A running node. Made by `open_node`."""

    def __init__(self, program: NodeProgram) -> None:
        self.program = program

    @property
    def id(self) -> str:
        """Our node id."""
        return str(self.program.keys.id)

    @property
    def name(self) -> str:
        """What we call ourselves."""
        return self.program.settings.name

    @property
    def addresses(self) -> tuple[str, ...]:
        """Our tunnel addresses."""
        return self.program.addresses

    @property
    def invite(self) -> Invite:
        """The invite of our network: a secret."""
        return self.program.invite

    def status(self) -> NodeStatus:
        """Everything about the node and its peers, frozen."""
        return self.program.status()

    def peer(self, wanted: str) -> Peer:
        """A known peer by id, name or tunnel address. Raises PeerUnreachable."""
        return Peer(self.program, self.program.peer_table.find(wanted, is_told=self.program.is_registered))

    async def connect(self, wanted: str) -> Peer:
        """The peer, as soon as data can flow to it: relayed or direct. Raises PeerUnreachable after 30 s.

        A name that nobody has yet is waited for, too. Our own raises at once, and so does a peer of another version.
        """
        self._refuse_ourselves(wanted)
        with trio.move_on_after(CONNECT_PATIENCE):
            while True:
                try:
                    peer = self.peer(wanted)
                except PeerUnreachable:
                    await self.program.notifier.wait()
                    continue
                if await peer.wait_carried(1.0):
                    return peer
        raise self._no_way(wanted, f" within {CONNECT_PATIENCE:g} s")

    async def ping(self, wanted: str) -> PingResult:
        """Measure one round trip.

        Raises PeerUnreachable; at once if there is no such peer, or if it is of another version.
        """
        self._refuse_ourselves(wanted)
        with trio.move_on_after(NEWS_PATIENCE if self.program.is_registered else CONNECT_PATIENCE):
            while not self._knows(wanted):
                await self.program.notifier.wait()
        if not self._knows(wanted):
            raise self._no_way(wanted)
        peer = self.peer(wanted)
        with trio.move_on_after(CONNECT_PATIENCE):
            while not await peer.wait_carried(NEWS_PATIENCE):
                if self.program.is_registered and not peer.is_present:
                    break
        if not peer.can_carry:
            raise self._no_way(wanted)
        return await peer.ping()

    def _refuse_ourselves(self, wanted: str) -> None:
        if wanted in (self.id, self.name, *self.addresses):
            self.peer(wanted)  # which says so, unless a peer holds that address

    def _no_way(self, wanted: str, when: str = "") -> PeerUnreachable:
        """Why nothing can be sent to it. Without a link to the server, that is the cause."""
        if not self.program.is_registered:
            cause = self.program.link.reason or "it has not answered yet"
            return PeerUnreachable(f"no way to {wanted!r}{when}: no link to the server ({cause})")
        note = self.program.peer_table.note_on(wanted)
        try:
            because = _because(self.peer(wanted).reason)
            return PeerUnreachable("; ".join(filter(None, (f"no way to {wanted!r}{when}{because}", note))))
        except PeerUnreachable as unknown:
            return unknown

    def _knows(self, wanted: str) -> bool:
        try:
            self.peer(wanted)
        except PeerUnreachable:
            return False
        return True

    async def receive_datagram(self) -> tuple[Peer, bytes]:
        """The next datagram from any peer, and the peer. Peers with waiting datagrams take turns.

        A datagram is returned once: here, or by `Peer.receive_datagram`.
        """
        inboxes = self.program.inboxes
        _check_kept(inboxes)
        while True:
            node, datagram = await inboxes.take_any()
            if (connection := self.program.peer_table.at(node)) is not None:
                return Peer(self.program, connection), datagram

    def forget(self, wanted: str) -> Forgotten:
        """Set a node's names free, so that the next node that bears one keeps it. Drop the node if it is away.

        `wanted` is a name, an id or a tunnel address. Raises PeerUnreachable if it names nobody.
        """
        return self.program.forget(wanted)

    async def netcheck(self) -> NetcheckReport:
        """Survey our NAT now, and classify it by RFC 3489 too. Raises SettingsError if surveys are switched off."""
        if not self.program.settings.udp:
            raise SettingsError(
                "this node was started with --no-udp: no NAT affects it, since its link to the server is TCP"
            )
        if not self.program.settings.survey:
            raise SettingsError("this node was started with --no-survey")
        found = await self.program.check_network()
        settings, status = self.program.settings, self.status()
        return replace(
            found,
            server=status.server,
            interface=status.interface,
            external=settings.external,
            relay_only=settings.relay_only,
        )

    async def wait_registered(self) -> None:
        """Return when the server knows us and has told who is there: `status().peers` holds them."""
        await self.program.link.wait_answered()

    def watch(self) -> AsyncGenerator[PeerChange, None]:
        """Every transition of every peer from now on. One that is not read for 1024 changes misses the oldest."""
        return self.program.peer_changes.watch()


@asynccontextmanager
async def open_node(
    *,
    invite: str | Invite,
    name: str | None = None,
    settings: NodeSettings | None = None,
    world: World | None = None,
) -> AsyncIterator[Node]:
    """Run a node for the length of the block, in userspace unless the settings name a TUN interface.

    Raises SettingsError (a damaged invite, a wrong setting) and DeviceError (port taken, no privilege) before anything
    is sent. The server may be unreachable: the node goes on trying. If it refuses us for good at the very first
    registration, Refused ends the block.
    """
    value, network = open_invite(invite if isinstance(invite, str) else encode_invite(invite))
    ServerUrl.parse(value.server)
    settings = settings or NodeSettings()
    if name is not None or not settings.name:
        settings = replace(settings, name=fit_name(socket.gethostname()) if name is None else name)
    check_node_settings(settings)
    if world is None:
        from tunnel.network.os.world import real_world

        world = real_world(settings.state, settings.without_offloads)
    program = NodeProgram(settings, value, network, world)
    with bare_errors():
        async with trio.open_nursery() as nursery:
            await nursery.start(program.run)
            yield Node(program)
            nursery.cancel_scope.cancel()


def _check_kept(inboxes: Inboxes) -> None:
    if not inboxes.is_read:
        raise SettingsError("this node keeps no datagrams: it was opened with keep_datagrams=False")


def _because(reason: Reason | None) -> str:
    return "" if reason is None else f" ({reason.code.value}: {reason.evidence})"
