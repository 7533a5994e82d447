"""Ports to everything outside the process, one small protocol each. A node or a server gets them all as one `World`.

The real ones are in network/os/, the in-memory ones in verify/memory/. Errors: Unreachable, DeviceError; a closed
socket or stream raises trio.ClosedResourceError, a broken one trio.BrokenResourceError.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.interface_kind import InterfaceKind
from tunnel.model.proxies import Proxies
from tunnel.model.routes import Gateway, Route
from tunnel.network.datagrams import Datagrams, ServiceSockets
from tunnel.network.packet_devices import PacketDevices


class Streams(Protocol):
    """Opens and accepts byte streams (TCP)."""

    async def open_stream(self, remote: Endpoint) -> trio.abc.Stream:
        """Connect. Raises Unreachable."""
        ...

    async def open_listener(self, local: Endpoint) -> StreamListener:
        """Listen. Port 0 picks one. Raises DeviceError with the remedy."""
        ...


class StreamListener(Protocol):
    """Accepts streams at one endpoint."""

    @property
    def local(self) -> Endpoint:
        """The bound endpoint."""
        ...

    async def accept(self) -> tuple[trio.abc.Stream, Endpoint]:
        """The next stream and the remote it comes from."""
        ...

    async def aclose(self) -> None:
        """Stop listening."""
        ...


class Resolver(Protocol):
    """Names to addresses."""

    async def resolve(self, host: str, port: int) -> tuple[Endpoint, ...]:
        """IPv4 and IPv6 endpoints of a name (a numeric host resolves to itself). Raises Unreachable."""
        ...


class Interfaces(Protocol):
    """This machine's own addresses, its routers and its routes."""

    def addresses(self) -> tuple[str, ...]:
        """Numeric unicast addresses of all interfaces that are up, loopback included, without zone index.

        Those that peers most likely reach come first: of the default route, then of other hardware. Container bridges,
        tunnels and interfaces without a link come last.
        """
        ...

    def is_nested(self, host: str) -> bool:
        """Whether packets to this address leave by an interface that encapsulates them, such as another VPN: no LAN."""
        ...

    def gateways(self) -> tuple[Gateway, ...]:
        """The routers of the default routes, the preferred one of each family first; only one of each is used."""
        ...

    def routes(self) -> tuple[Route, ...]:
        """All IPv4 routes but default ones, as they are now."""
        ...

    def resolvers(self) -> tuple[str, ...]:
        """The addresses of the DNS resolvers that this machine asks."""
        ...

    async def wait_change(self) -> None:
        """Return when the addresses or the default route differ from when the wait began."""
        ...


class Clock(Protocol):
    """Clocks that are not Trio's. Durations always come from `trio.current_time()`."""

    def wall(self) -> float:
        """Unix time, for people and leases; it may jump."""
        ...

    async def wait_slept(self) -> float:
        """Return when this machine resumes from its next suspension: for how many seconds Trio's clock stood still."""
        ...

    async def wait_copied(self) -> str:
        """Return when this process may be running from a copy of its memory, as from a snapshot: what shows that."""
        ...


class Entropy(Protocol):
    """All randomness."""

    chance: random.Random
    """For jitter and shuffles, never for secrets."""

    def token(self, size: int) -> bytes:
        """Unguessable bytes: keys, nonces, ids."""
        ...


class Store(Protocol):
    """A few small private files by name."""

    def read(self, name: str) -> bytes | None:
        """The content, or None if there is no such file. Raises DeviceError if it cannot be read."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Replace atomically, readable by the owner only. Raises DeviceError."""
        ...

    def remove(self, name: str) -> None:
        """Remove the file, if there is one. Raises DeviceError."""
        ...


class Sighting(NamedTuple):
    """A control socket at which a process listens."""

    path: Path
    owner: str
    """The user's name, or number where it has none."""
    is_open: bool
    """Whether this process may speak to it."""


class Controls(Protocol):
    """Local control sockets, for the owner only."""

    async def open_listener(self, path: Path) -> StreamListener:
        """Listen at a path, mode 0600. Raises DeviceError if somebody listens there already."""
        ...

    async def open_stream(self, path: Path) -> trio.abc.Stream:
        """Connect to a path. Raises Unreachable; its cause is a PermissionError where another user listens there."""
        ...

    def sightings(self) -> tuple[Sighting, ...]:
        """The control sockets of all nodes on this machine that can be seen, whoever owns them."""
        ...


class MappedPort(NamedTuple):
    """What a UPnP gateway granted."""

    external: Endpoint
    lease: float
    """Seconds; math.inf if the gateway knows only permanent mappings."""


class PortMapper(Protocol):
    """The gateway's UPnP service (IGD). A gateway that was found is remembered."""

    @property
    def is_installed(self) -> bool:
        """Whether this machine can speak UPnP at all; if not, every call raises Unreachable."""
        ...

    async def map_port(self, internal_port: int, lease: float, external_port: int = 0) -> MappedPort:
        """Map a UDP port, or renew it; `external_port` is a wish, 0 for none. Raises Unreachable or Refused."""
        ...

    async def unmap_port(self, external_port: int) -> None:
        """Take a mapping of this machine back. Raises Unreachable or Refused."""
        ...

    async def holds_port(self, external: Endpoint, internal_port: int) -> bool:
        """Whether the gateway still maps that endpoint to this machine. Raises Unreachable."""
        ...

    def forget(self) -> None:
        """This machine is in another network now: search for a gateway again."""
        ...


class Privileges(Protocol):
    """What this process may do that an ordinary one may not."""

    def lay_down(self, interface: InterfaceKind | None) -> None:
        """Give up for good what is no longer needed once all sockets and the interface are open.

        The interface of this kind, if there is one, can still be changed.
        """
        ...


class KeptPrivileges:
    """Nothing is given up: the process is not only ours."""

    def lay_down(self, interface: InterfaceKind | None) -> None:
        """Keep everything."""


@dataclass(frozen=True, slots=True)
class World:
    """All ports of one machine."""

    datagrams: Datagrams
    services: ServiceSockets
    streams: Streams
    resolver: Resolver
    interfaces: Interfaces
    clock: Clock
    entropy: Entropy
    store: Store
    devices: PacketDevices
    """TUN interfaces of this machine."""
    controls: Controls
    port_mapper: PortMapper
    proxies: Proxies = field(default_factory=Proxies)
    """What this machine's environment says of HTTP proxies."""
    userspace: Mapping[InterfaceKind, PacketDevices] = field(default_factory=dict)
    """What a node can have in place of a TUN interface of this machine."""
    privileges: Privileges = KeptPrivileges()
