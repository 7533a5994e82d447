"""A client of the re-enacted tool: publishes its local port, and punches at one endpoint after the other.

own address inside   20 x 100 ms = 2 s
published endpoint   20 x 100 ms = 2 s, then 3 x (1 s pause and 10 x 200 ms) = 9 s
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import trio
from bench.studies.reenactment_detection import Detection, NatKind, detect
from bench.studies.reenactment_hub import PeerInfo, lines_of, send_line

from tunnel.model.endpoint import Endpoint
from tunnel.network.datagrams import DatagramSocket
from tunnel.network.ports import World

PORT = 19000
"""Its documentation advises a fixed port."""
REQUEST_GAP = 5.0
"""Seconds between two requests for one peer, while there is traffic and no direct path."""
TRAFFIC = 1.0
"""Seconds between two packets of the user."""
ANNOUNCE_RETRIES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""After an announcement that could not be sent; one that was lost on the way goes unnoticed."""
HELLO, HELLO_BACK, DATA = b"hello", b"hello back", b"data"
"""The tool has one word for the first two and answers each with the same, so that they bounce for ever. That only
floods, so here an answer is not answered."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What the tool did before and after its fixes."""

    announces_by_itself: bool
    """After detection; else only when it wants a peer, right after the request."""
    stun: tuple[str, ...]
    """The servers, in the order in which they are asked."""


def punch_schedule(info: PeerInfo) -> Iterator[tuple[Endpoint | None, float]]:
    """The destination of each hello, if any, and the seconds to wait after it."""
    for endpoint in (info.local, info.public):
        yield from ((endpoint, 0.1) for _ in range(20))
    for _ in range(3):
        yield None, 1.0
        yield from ((info.public, 0.2) for _ in range(10))


class Client:
    """One client. Run it, then let it `talk_to` a peer."""

    def __init__(self, name: str, world: World, hub: Endpoint, habits: Habits) -> None:
        self.name = name
        self._world = world
        self._hub = hub
        self._habits = habits
        self._stream: trio.abc.Stream | None = None
        self._public = ""
        self._peer: PeerInfo | None = None
        self._is_punching = False
        self._path: Endpoint | None = None
        self._started_at = 0.0
        self.detected, self.heard = trio.Event(), trio.Event()
        self.detection: Detection | None = None
        self.detection_seconds: float | None = None
        self.claimed_at: float | None = None
        """When it first counted the peer as connected."""
        self.heard_at: float | None = None
        """When the first data of the peer came in directly."""

    @property
    def is_connected(self) -> bool:
        """Whether it believes that it is connected."""
        return self._path is not None

    async def run(self) -> None:
        """Connect to the hub and serve, until cancelled."""
        self._started_at = trio.current_time()
        self._stream = await self._world.streams.open_stream(self._hub)
        await send_line(self._stream, ["name", self.name])
        socket = await self._world.datagrams.open_socket(Endpoint("0.0.0.0", PORT))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey, self._stream, socket, nursery)
            nursery.start_soon(self._receive, socket)
            nursery.start_soon(self._send_data, socket)
            await self._detect()
            if self._habits.announces_by_itself:
                await self._announce()

    async def talk_to(self, peer: str) -> None:
        """Have something to say to a peer, each second, until cancelled."""
        requested_at: float | None = None
        while True:
            now = trio.current_time()
            is_due = requested_at is None or now - requested_at >= REQUEST_GAP
            if self._stream is not None and not self.is_connected and is_due:
                requested_at = now
                await send_line(self._stream, ["want", peer])
                if not self._habits.announces_by_itself:
                    await self._announce()
            await trio.sleep(TRAFFIC)

    async def _detect(self) -> None:
        self.detection = await detect(self._world, (str(self._hub), *self._habits.stun))
        self.detection_seconds = trio.current_time() - self._started_at
        self.detected.set()

    async def _announce(self) -> None:
        assert self._stream is not None
        addresses = self._world.interfaces.addresses()
        local = next((host for host in addresses if ":" not in host and not host.startswith("127.")), "127.0.0.1")
        info = PeerInfo(Endpoint(self._public, PORT), Endpoint(local, PORT), self._kind)
        for wait in (*ANNOUNCE_RETRIES, None):
            try:
                await send_line(self._stream, ["info", info.as_json()])
                return
            except trio.BrokenResourceError:
                if wait is None:
                    return
                await trio.sleep(wait)

    @property
    def _kind(self) -> NatKind:
        return NatKind.UNKNOWN if self.detection is None else self.detection.kind

    async def _obey(self, stream: trio.abc.Stream, socket: DatagramSocket, nursery: trio.Nursery) -> None:
        async for word, *fields in lines_of(stream):
            if word == "seen":
                self._public = fields[0]
            elif word == "meet":
                self._peer = PeerInfo.from_json(fields[1])
                self._path = None  # also if there was a path that worked
                both_symmetric = self._kind is self._peer.kind is NatKind.SYMMETRIC
                if not self._is_punching and not both_symmetric:
                    self._is_punching = True
                    nursery.start_soon(self._punch, socket, self._peer)

    async def _punch(self, socket: DatagramSocket, peer: PeerInfo) -> None:
        for endpoint, wait in punch_schedule(peer):
            if self.is_connected:
                break
            if endpoint is not None:
                socket.send_nowait(HELLO, endpoint)
            await trio.sleep(wait)
        self._is_punching = False

    async def _receive(self, socket: DatagramSocket) -> None:
        while True:
            for datagram, remote in await socket.receive_batch():
                now = trio.current_time()
                if datagram == DATA:
                    self.heard_at = now if self.heard_at is None else self.heard_at
                    self.heard.set()
                elif self._peer is not None and remote in (self._peer.public, self._peer.local):
                    # Only a hello from exactly the published endpoint counts; one is enough, whatever happened to ours.
                    self._path = remote
                    self.claimed_at = now if self.claimed_at is None else self.claimed_at
                    if datagram == HELLO:
                        socket.send_nowait(HELLO_BACK, remote)

    async def _send_data(self, socket: DatagramSocket) -> None:
        while True:
            if self._path is not None:
                socket.send_nowait(DATA, self._path)
            await trio.sleep(TRAFFIC / 10)
