"""Another VPN in memory, between two hosts: its packets go through their tunnel interfaces, or by a path of their own.

socket -> host -> overlay -(UDP in IPv4, in pieces that fit)-> TUN ~ tunnel ~> TUN -> overlay -> host -> socket
"""

from __future__ import annotations

import ipaddress
import itertools
import struct
from collections.abc import Callable
from functools import partial

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.verify.memory.devices import MemoryDevice
from tunnel.verify.memory.host import MemoryHost
from tunnel.verify.memory.inner_udp import packet_of
from tunnel.verify.memory.packet import Fate, MemoryPacket

PORT = 4789
PACE = 500
"""The most packets a second that both ends send: a loop must not stop virtual time."""
KEPT = 64
"""The most packets that wait for missing fragments; beyond it the oldest is dropped."""
_IP = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_PIECE = struct.Struct("!4sIBB")
_MARK = b"ovl\0"
_PROTOCOL_UDP = 17
_MASK = bytes(255 - byte for byte in range(256))
_HEADERS = 28


class MemoryOverlay:
    """Joins two hosts. `addresses` are their new ones; `latency` is None if it goes through the tunnel.

    An `encrypted` one hides what it wraps. `on_encapsulated(host, packet, age)` is called with each packet that goes
    into the tunnel, and the seconds since the overlay came up.
    """

    def __init__(
        self,
        one: MemoryHost,
        other: MemoryHost,
        addresses: tuple[str, str],
        *,
        latency: float | None = None,
        mtu: int = 1420,
        encrypted: bool = False,
        on_encapsulated: Callable[[str, MemoryPacket, float], None] = lambda _host, _packet, _age: None,
    ) -> None:
        self._hosts = {addresses[0]: one, addresses[1]: other}
        self._latency = latency
        self._mtu = mtu
        self._encrypted = encrypted
        self._on_ridden = on_encapsulated
        self._began = trio.current_time()
        self._numbers = itertools.count()
        self._second, self._sent = 0, 0
        self._pieces: dict[int, dict[int, bytes]] = {}
        one.join_overlay(addresses[0], addresses[1], self._carry)
        other.join_overlay(addresses[1], addresses[0], self._carry)
        if latency is None:
            for host in (one, other):
                host.devices.takers.append(partial(self._take, host))

    def _carry(self, packet: MemoryPacket) -> None:
        """Carry a packet from one host to the other."""
        here, there = self._hosts[packet.source.host], self._hosts[packet.destination.host]
        if len(packet.payload) + _HEADERS > self._mtu:
            here.ether.settle(packet, Fate.OVERSIZE)
        elif self._latency is not None:
            here.ether.schedule(self._latency, lambda: there.deliver(packet))
        elif not self._has_room():
            here.ether.settle(packet, Fate.SHED)
        elif not self._ride(here, there, packet):
            here.ether.settle(packet, Fate.UNROUTABLE)

    def _has_room(self) -> bool:
        second = int(trio.current_time())
        self._sent = self._sent + 1 if second == self._second else 1
        self._second = second
        return self._sent <= PACE

    def _ride(self, here: MemoryHost, there: MemoryHost, packet: MemoryPacket) -> bool:
        """Send a packet into the tunnel. False: one of the hosts has none, or its queue is full."""
        device, far = _device_of(here), _device_of(there)
        source, destination = _address4(device), _address4(far)
        if device is None or source is None or destination is None:
            return False
        self._on_ridden(here.name, packet, trio.current_time() - self._began)
        wrapped = f"{packet.source} {packet.destination} {packet.ttl}\n".encode() + packet.payload
        if self._encrypted:
            wrapped = wrapped.translate(_MASK)
        room = device.mtu - _IP.size - _UDP.size - _PIECE.size
        pieces = [wrapped[at : at + room] for at in range(0, len(wrapped), room)]
        number = next(self._numbers)
        return all(
            device.inject(_datagram(source, destination, _PIECE.pack(_MARK, number, index, len(pieces)) + piece))
            for index, piece in enumerate(pieces)
        )

    def _take(self, host: MemoryHost, frame: bytes) -> bool:
        """Take a fragment of ours that came out of a tunnel; the last one completes a packet. False: it is not ours."""
        inner = bytes(packet_of(frame))
        at = _IP.size + _UDP.size
        if len(inner) < at + _PIECE.size or inner[0] != 0x45 or inner[9] != _PROTOCOL_UDP:
            return False
        mark, number, index, count = _PIECE.unpack_from(inner, at)
        if _UDP.unpack_from(inner, _IP.size)[1] != PORT or mark != _MARK:
            return False
        pieces = self._pieces.setdefault(number, {})
        pieces[index] = inner[at + _PIECE.size :]
        if len(pieces) == count:
            del self._pieces[number]
            host.deliver(self._unwrapped(b"".join(pieces[index] for index in range(count))))
        while len(self._pieces) > KEPT:
            del self._pieces[next(iter(self._pieces))]
        return True

    def _unwrapped(self, wrapped: bytes) -> MemoryPacket:
        if self._encrypted:
            wrapped = wrapped.translate(_MASK)
        head, _, payload = wrapped.partition(b"\n")
        source, destination, ttl = head.decode().split()
        return MemoryPacket(_endpoint(source), _endpoint(destination), payload, int(ttl))


def _device_of(host: MemoryHost) -> MemoryDevice | None:
    return next(iter(host.devices.open.values()), None)


def _address4(device: MemoryDevice | None) -> bytes | None:
    """The interface's IPv4 address, if it has one now."""
    present = () if device is None else map(ipaddress.ip_interface, device.link.present)
    return next((interface.ip.packed for interface in present if interface.version == 4), None)


def _datagram(source: bytes, destination: bytes, payload: bytes) -> bytes:
    """A UDP datagram in IPv4, as the kernel would send it. Checksums are not computed."""
    length = _IP.size + _UDP.size + len(payload)
    head = _IP.pack(0x45, 0, length, 0, 0, 64, _PROTOCOL_UDP, 0, source, destination)
    return head + _UDP.pack(PORT, PORT, length - _IP.size, 0) + payload


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    return Endpoint(host, int(port))
