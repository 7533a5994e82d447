"""The TUN plane: IP packets between a TUN interface and the peers. It knows packets and addresses, not keys or paths.

Each packet goes in a datagram of its own. A packet that cannot be delivered is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from tunnel.dataplane.flow import Flow
from tunnel.dataplane.outbound import Outbound
from tunnel.model.errors import DeviceError, MalformedFrame
from tunnel.model.rates import TokenBucket
from tunnel.network.packet_devices import PacketDevice
from tunnel.riders.loop_guard import LoopGuard
from tunnel.wire.icmp import encode_unreachable
from tunnel.wire.ip_packet import addresses_of, destination_of, leads_on, source_of

REFUSALS_RATE, REFUSALS_BURST = 10.0, 10.0
"""ICMP errors per second, and at once, that we send to this machine's kernel."""


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
    """One for each node. `carry` reads the interface; register `deliver_untrusted` for IP packets from peers."""

    def __init__(
        self,
        flow_of: Callable[[bytes], Flow | None],
        is_own: Callable[[bytes], bool],
        guard: LoopGuard,
        outbound: Outbound,
    ) -> None:
        """`flow_of` finds the flow of the peer with a packed inner address, `is_own` recognizes our addresses, `guard`
        our datagrams.
        """
        self._flow_of = flow_of
        self._is_own = is_own
        self._guard = guard
        self._outbound = outbound
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
                self._send(packets)
                await trio.lowlevel.checkpoint()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise DeviceError(f"the interface {device.name} is gone: somebody removed it; start again") from error
        finally:
            self._device = None
            device.close()

    def deliver_untrusted(self, sender: Flow, packets: Sequence[bytes]) -> None:
        """Hand a peer's packets to the kernel, each if its inner source is that peer's and its destination ours.

        Otherwise the kernel would deliver it wherever it has a route: to this machine's other addresses, and with IP
        forwarding to the LAN.
        """
        counts, flow_of, is_own = self.counts, self._flow_of, self._is_own
        for packet in packets:
            try:
                source, destination = addresses_of(packet)
            except MalformedFrame:
                counts.malformed += 1
                continue
            if flow_of(source) is not sender:
                counts.forged_source += 1
            elif not is_own(destination) or leads_on(packet):
                counts.foreign_destination += 1
            elif self._write(packet):
                counts.into += 1
            else:
                counts.device_full += 1

    def _write(self, packet: bytes) -> bool:
        try:
            return self._device is not None and self._device.write_nowait(packet)
        except trio.ClosedResourceError:  # it has just disappeared; the reader reports it
            return False

    def _send(self, packets: Sequence[bytes]) -> None:
        """Send what one read brought. Packets in a row to one peer leave as one batch."""
        now = trio.current_time()
        flow: Flow | None = None
        row: list[bytes] = []
        for packet in packets:
            accepted = self._accept(packet)
            if accepted is not flow:
                if flow is not None:
                    self._outbound.send_data(flow, row, now)
                flow, row = accepted, []
            row.append(packet)
        if flow is not None:
            self._outbound.send_data(flow, row, now)

    def _accept(self, packet: bytes) -> Flow | None:
        """The flow that a packet goes to; None if it is dropped, which is counted."""
        try:
            flow = self._flow_of(destination_of(packet))
        except MalformedFrame:
            self.counts.malformed += 1
            return None
        if flow is None:
            self.counts.no_peer += 1
        elif not self._guard.take(packet):
            self.counts.looped += 1
        elif not flow.takes_ip:
            self._refuse(packet)
        else:
            self.counts.out += 1
            return flow
        return None

    def _refuse(self, packet: bytes) -> None:
        """Tell the program that sent it at once, as the peer's own kernel would."""
        self.counts.refused += 1
        answer = encode_unreachable(packet) if self._is_own(source_of(packet)) else None
        if answer is not None and self._refusals.take(trio.current_time()):
            self._write(answer)
