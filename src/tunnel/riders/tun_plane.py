"""The TUN plane: IP packets between a TUN interface and the peers. It knows packets and addresses, not keys or paths.

Each packet goes in a datagram of its own. A packet that cannot be delivered is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from tunnel.model.errors import DeviceError, MalformedFrame
from tunnel.model.rates import TokenBucket
from tunnel.network.ports import PacketDevice
from tunnel.riders.loop_guard import LoopGuard
from tunnel.wire.icmp import encode_unreachable
from tunnel.wire.ip_packet import addresses_of, destination_of, leads_on, source_of

REFUSALS_RATE, REFUSALS_BURST = 10.0, 10.0
"""ICMP errors per second, and at once, that we send to this machine's kernel."""


class Recipient(Protocol):
    """What this room needs of a peer."""

    @property
    def takes_ip(self) -> bool:
        """Whether it accepts IP packets."""
        ...

    def send_packet(self, packet: bytes) -> None:
        """Send one IP packet to it."""
        ...


@dataclass(slots=True)
class TunCounts:
    """What became of packets."""

    out: int = 0
    into: int = 0
    no_peer: int = 0
    """No peer has their destination; multicast is counted here too."""
    malformed: int = 0
    forged_source: int = 0
    """From a peer, but with an inner source address that is not that peer's."""
    foreign_destination: int = 0
    """From a peer, but not to one of our tunnel addresses: to the LAN behind us, to another address of this machine, to
    all (multicast, broadcast), or to be forwarded by a source route in the packet."""
    device_full: int = 0
    """For us, but there is no interface now, or its queue is full."""
    refused: int = 0
    """For a peer that accepts no IP: answered with an ICMP error, within a rate."""
    looped: int = 0
    """One of the tunnel's own datagrams, wrapped by an overlay inside the tunnel."""


class TunPlane:
    """`recipient_of` finds the peer with a packed inner address, `is_own` recognizes our addresses, `guard` our
    datagrams."""

    def __init__(
        self, recipient_of: Callable[[bytes], Recipient | None], is_own: Callable[[bytes], bool], guard: LoopGuard
    ) -> None:
        self._recipient_of = recipient_of
        self._is_own = is_own
        self._guard = guard
        self._refusals = TokenBucket(REFUSALS_RATE, REFUSALS_BURST, 0.0)
        self._device: PacketDevice | None = None
        self.counts = TunCounts()

    async def carry(self, device: PacketDevice) -> None:
        """Read this device until cancelled, then close it. Raises DeviceError when it disappears."""
        self._device = device
        try:
            while True:
                packets = await device.read_batch()
                await self._guard.wait_audible()
                for packet in packets:
                    self._send(packet)
                await trio.lowlevel.checkpoint()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise DeviceError(f"the interface {device.name} is gone: somebody removed it; start again") from error
        finally:
            self._device = None
            device.close()

    def deliver_untrusted(self, sender: Recipient, packet: bytes) -> None:
        """Hand a peer's packet to the kernel, if its inner source is that peer's and its destination ours.

        Otherwise the kernel would deliver it wherever it has a route: to this machine's other addresses, and with IP
        forwarding to the LAN.
        """
        try:
            source, destination = addresses_of(packet)
        except MalformedFrame:
            self.counts.malformed += 1
            return
        if self._recipient_of(source) is not sender:
            self.counts.forged_source += 1
        elif not self._is_own(destination) or leads_on(packet):
            self.counts.foreign_destination += 1
        elif self._write(packet):
            self.counts.into += 1
        else:
            self.counts.device_full += 1

    def _write(self, packet: bytes) -> bool:
        try:
            return self._device is not None and self._device.write_nowait(packet)
        except trio.ClosedResourceError:  # it has just disappeared; the reader reports it
            return False

    def _send(self, packet: bytes) -> None:
        try:
            recipient = self._recipient_of(destination_of(packet))
        except MalformedFrame:
            self.counts.malformed += 1
            return
        if recipient is None:
            self.counts.no_peer += 1
            return
        if not self._guard.take(packet):
            self.counts.looped += 1
            return
        if not recipient.takes_ip:
            self._refuse(packet)
            return
        recipient.send_packet(packet)
        self.counts.out += 1

    def _refuse(self, packet: bytes) -> None:
        """Tell the program that sent it at once, as the peer's own kernel would."""
        self.counts.refused += 1
        answer = encode_unreachable(packet) if self._is_own(source_of(packet)) else None
        if answer is not None and self._refusals.take(trio.current_time()):
            self._write(answer)
