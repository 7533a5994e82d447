"""A host in memory: its addresses, its sockets, and the `World` that a program on it sees."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from typing import TypeVar

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.model.proxies import Proxies
from tunnel.network.memory_store import MemoryStore
from tunnel.network.no_port_mapper import NoPortMapper
from tunnel.network.ports import PortMapper, World
from tunnel.verify.memory.controls import MemoryControls
from tunnel.verify.memory.datagrams import MemoryDatagramSocket, MemoryServiceSocket, MemorySocket
from tunnel.verify.memory.devices import MemoryDevices
from tunnel.verify.memory.machine import MemoryClock, MemoryEntropy, MemoryInterfaces
from tunnel.verify.memory.packet import Ether, Fate, MemoryPacket, Network, Segment, SegmentKind
from tunnel.verify.memory.resolver import MemoryResolver
from tunnel.verify.memory.streams import MemoryListener, MemoryStream

ETHERNET_MTU = 1500
FIRST_EPHEMERAL_PORT = 40000
EPHEMERAL_STARTS = 8192
"""A host's own ports begin at most so far above that, so that two hosts behind one NAT rarely use the same ones."""
_Bound = TypeVar("_Bound", MemorySocket, MemoryListener)


class MemoryHost:
    """One machine. `world()` is what a program started there gets; `kill()` ends all its programs as kill -9 does.

    What a machine keeps from one start to the next is kept here: `store`, `clock`, `interfaces`, `devices`. The
    `port_mapper` and the `proxies` of its environment may be replaced before `world` is called. `resolver` can be told
    to fail. `on_sent` is called with each packet that leaves for the network, `on_arrival` with each that arrives and
    its fate.
    """

    def __init__(
        self,
        name: str,
        addresses: tuple[str, ...],
        *,
        network: Network,
        ether: Ether,
        names: dict[str, tuple[str, ...]],
        seed: int,
    ) -> None:
        self.name = name
        self.ether = ether
        self.mtu = ETHERNET_MTU
        """Of its interface."""
        self.interfaces = MemoryInterfaces()
        self.store = MemoryStore()
        self.clock = MemoryClock()
        self.devices = MemoryDevices()
        self.port_mapper: PortMapper = NoPortMapper()
        self.resolver = MemoryResolver(names)
        self.proxies = Proxies()
        self.on_sent: Callable[[MemoryPacket], None] | None = None
        self.on_arrival: Callable[[MemoryPacket, Fate], None] | None = None
        self._network = network
        self._controls = MemoryControls(self)
        self._seed = seed
        self._starts = itertools.count()
        start = random.Random(f"{seed}/{name}/ports").randrange(EPHEMERAL_STARTS)  # noqa: S311 - repeatable on purpose
        self._ports = itertools.count(FIRST_EPHEMERAL_PORT + start)
        self._addresses: tuple[str, ...] = ()
        self._overlays: dict[str, tuple[str, Callable[[MemoryPacket], None]]] = {}
        self._sockets: dict[Endpoint, MemorySocket] = {}
        self._listeners: dict[Endpoint, MemoryListener] = {}
        self._streams: dict[tuple[Endpoint, Endpoint], MemoryStream] = {}
        self.change_addresses(*addresses)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses on the network, without loopback; the first of a family is the default source."""
        return self._addresses

    def world(self) -> World:
        """The ports for one process. Each call has other randomness, as each start of a process has."""
        seed = f"{self._seed}/{self.name}/{next(self._starts)}"
        return World(
            datagrams=self,
            services=self,
            streams=self,
            resolver=self.resolver,
            interfaces=self.interfaces,
            clock=self.clock,
            entropy=MemoryEntropy(random.Random(seed)),  # noqa: S311 - repeatable on purpose
            store=self.store,
            devices=self.devices,
            controls=self._controls,
            port_mapper=self.port_mapper,
            proxies=self.proxies,
        )

    def change_addresses(self, *addresses: str) -> None:
        """Replace the addresses. Streams of a lost address hang, as on a real machine. None at all: unplugged."""
        for address in self._addresses:
            if address not in addresses:
                self._network.detach(address)
        for address in addresses:
            if address not in self._addresses:
                self._network.attach(address, self)
        self._addresses = addresses
        self._tell_addresses()

    def move(self, network: Network, *addresses: str) -> None:
        """Move to another network, with these addresses: programs are told of a change even if they are the same."""
        self.change_addresses()
        self._network = network
        self.change_addresses(*addresses)

    def join_overlay(self, own: str, far: str, carry: Callable[[MemoryPacket], None]) -> None:
        """Join another VPN: `carry` takes the packets to `far`, whose source is the address `own`."""
        self._overlays[far] = own, carry
        self.interfaces.nested.add(far)
        self._tell_addresses()

    def kill(self) -> None:
        """Close every socket, listener, device and control socket; the other ends of streams see a reset."""
        for listener in list(self._listeners.values()):
            listener.close()
        for stream in list(self._streams.values()):
            stream.reset()
        for socket in list(self._sockets.values()):
            socket.close()
        self.devices.close_all()

    async def open_socket(self, local: Endpoint) -> MemoryDatagramSocket:
        """Bind a UDP socket."""
        bound = self._bind(local, self._sockets)
        socket = self._sockets[bound] = MemoryDatagramSocket(self, bound)
        return socket

    async def open_service_socket(self, local: Endpoint) -> MemoryServiceSocket:
        """Bind a UDP socket of a server."""
        bound = self._bind(local, self._sockets)
        socket = self._sockets[bound] = MemoryServiceSocket(self, bound)
        return socket

    async def open_listener(self, local: Endpoint) -> MemoryListener:
        """Listen for streams."""
        bound = self._bind(local, self._listeners)
        listener = self._listeners[bound] = MemoryListener(self, bound)
        return listener

    async def open_stream(self, remote: Endpoint) -> MemoryStream:
        """Connect. Raises Unreachable."""
        wildcard = "::" if remote.is_ipv6 else "0.0.0.0"
        local = self.source_for(Endpoint(wildcard, next(self._ports)), remote)
        if local is None:
            raise Unreachable(f"no address here to reach {remote} from")
        stream = MemoryStream(self, local, remote)
        self.adopt_stream(stream)
        try:
            await stream.connect()
        except BaseException:
            stream.reset()
            raise
        return stream

    def source_for(self, local: Endpoint, remote: Endpoint) -> Endpoint | None:
        """The endpoint that a packet from a socket bound to `local` comes from; None if there is no such address."""
        if local.is_ipv6 != remote.is_ipv6:
            return None
        if not local.is_wildcard:
            return local
        if _is_loopback(remote.host):
            return Endpoint(remote.host, local.port)
        if remote.host in self._overlays:
            return Endpoint(self._overlays[remote.host][0], local.port)
        for address in self._addresses:
            if (":" in address) == local.is_ipv6:
                return Endpoint(address, local.port)
        return None

    def send(self, packet: MemoryPacket) -> None:
        """Send a packet: to this host itself at once, to others by the network."""
        if self._owns(packet.destination.host):
            self.ether.schedule(0.0, lambda: self.deliver(packet))
        elif packet.destination.host in self._overlays:
            self._overlays[packet.destination.host][1](packet)
        elif packet.source.host not in self._addresses:
            self.ether.settle(packet, Fate.UNROUTABLE)
        else:
            if self.on_sent is not None:
                self.on_sent(packet)
            self._network.transmit(packet)

    def deliver(self, packet: MemoryPacket) -> None:
        """A packet has arrived for one of our addresses."""
        if not self._owns(packet.destination.host):
            fate = Fate.UNROUTABLE
        elif packet.segment is None:
            socket = _bound_to(packet.destination, self._sockets)
            fate = Fate.UNWANTED if socket is None else socket.arrive(packet)
        else:
            fate = self._deliver_segment(packet, packet.segment)
        if self.on_arrival is not None:
            self.on_arrival(packet, fate)
        self.ether.settle(packet, fate)

    def adopt_stream(self, stream: MemoryStream) -> None:
        """Packets between its two endpoints are for this stream from now on."""
        self._streams[stream.local, stream.remote] = stream

    def forget_stream(self, stream: MemoryStream) -> None:
        """Deliver no more packets to this stream."""
        if self._streams.get((stream.local, stream.remote)) is stream:
            del self._streams[stream.local, stream.remote]

    def forget_socket(self, socket: MemorySocket) -> None:
        """Its port is free."""
        del self._sockets[socket.local]

    def forget_listener(self, listener: MemoryListener) -> None:
        """Its port is free."""
        del self._listeners[listener.local]

    def _deliver_segment(self, packet: MemoryPacket, segment: Segment) -> Fate:
        stream = self._streams.get((packet.destination, packet.source))
        if stream is not None:
            stream.arrive(packet)
            return Fate.DELIVERED
        listener = _bound_to(packet.destination, self._listeners)
        if segment.kind is SegmentKind.CONNECT and listener is not None:
            return listener.arrive(packet)
        if segment.kind in (SegmentKind.CONNECT, SegmentKind.ACCEPT, SegmentKind.DATA):
            reset = Segment(SegmentKind.RESET, 0, None)
            self.send(MemoryPacket(packet.destination, packet.source, b"", segment=reset))
        return Fate.DELIVERED  # the kernel dealt with it: sending it again would not help

    def _owns(self, host: str) -> bool:
        if host in self._addresses or _is_loopback(host):
            return True
        return any(host == own for own, _ in self._overlays.values())

    def _tell_addresses(self) -> None:
        self.interfaces.change((*self._addresses, *(own for own, _ in self._overlays.values())))

    def _bind(self, local: Endpoint, taken: Iterable[Endpoint]) -> Endpoint:
        if not local.is_wildcard and not self._owns(local.host):
            raise DeviceError(f"{local.host} is not an address of {self.name}: use one that is, or 0.0.0.0")
        if local.port == 0:
            return Endpoint(local.host, next(self._ports))
        for other in taken:
            clash = local.host == other.host or local.is_wildcard or other.is_wildcard
            if clash and other.port == local.port and other.is_ipv6 == local.is_ipv6:
                raise DeviceError(f"port {local.port} of {self.name} is taken: choose another, or 0 for a free one")
        return local


def _is_loopback(host: str) -> bool:
    """Called for each packet, so without parsing."""
    return host.startswith("127.") or host == "::1"


def _bound_to(endpoint: Endpoint, table: dict[Endpoint, _Bound]) -> _Bound | None:
    """What is bound to this endpoint, or to its port on all addresses."""
    return table.get(endpoint) or table.get(Endpoint("::" if endpoint.is_ipv6 else "0.0.0.0", endpoint.port))
