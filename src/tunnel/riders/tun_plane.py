"""The TUN plane: IP packets between a TUN interface and the peers. It knows packets and addresses, not keys or paths.

    interface --frames of one read burst--> small ones: coalesced, by peer, together --+
                                            a superpacket: at once, from where it lies --+--> outbound
    record of a peer --frames--> source and destination checked --> interface, as the peer's interface gave it

A frame is an IP packet, with or without a virtio-net header (wire/records.py). What the interface here cannot take as
it is becomes plain packets. What cannot be delivered is dropped and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import trio

from tunnel.dataplane.ack_filter import filter_acks
from tunnel.dataplane.coalescing import coalesce
from tunnel.dataplane.flow import Flow
from tunnel.dataplane.outbound import Outbound
from tunnel.dataplane.pacing import Pacing
from tunnel.dataplane.superpacket import is_sound, offloads_for, to_plain
from tunnel.model.buffers import Buffer
from tunnel.model.errors import DeviceError, MalformedFrame
from tunnel.model.rates import TokenBucket
from tunnel.network.packet_devices import PacketDevice
from tunnel.riders.loop_guard import LoopGuard
from tunnel.wire.icmp import encode_unreachable
from tunnel.wire.ip_packet import addresses_of, destination_of, leads_on, source_of
from tunnel.wire.records import BUNDLE, decode_bundle, start_of_packet
from tunnel.wire.virtio import PLAIN_BIT

SMALL = 2048
"""Bytes of a frame that waits for others of its read burst. A larger one is sealed where it was read."""
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
    superfluous: int = 0
    """TCP acknowledgements that another one of the same read burst made superfluous."""
    overdue: int = 0
    """Waited too long for a link that is slower than this machine, found no room there, or lost its interface there."""
    looped: int = 0
    """One of the tunnel's own datagrams, wrapped by an overlay inside the tunnel."""


class TunPlane:
    """One for each node. `carry` reads the interface; register `deliver_untrusted` for packets from peers,
    `send_answers` for the end of a batch of them.
    """

    def __init__(
        self,
        flow_of: Callable[[bytes], Flow | None],
        is_own: Callable[[bytes], bool],
        guard: LoopGuard,
        outbound: Outbound,
        unsent: Callable[[], int] = lambda: 0,
    ) -> None:
        """`flow_of` finds the flow of the peer with a packed inner address, `is_own` recognizes our addresses, `guard`
        our datagrams; `unsent`: bytes of the node's datagrams that the kernel has not sent yet.
        """
        self._flow_of = flow_of
        self._is_own = is_own
        self._guard = guard
        self._outbound = outbound
        self._pacing = Pacing(unsent)
        self._refusals = TokenBucket(REFUSALS_RATE, REFUSALS_BURST, 0.0)
        self._device: PacketDevice | None = None
        self._has_written = False
        """Since the interface was read last: mostly our kernel has answered by now."""
        self._is_reader_waiting = False
        """With what it read before a hush."""
        self.counts = TunCounts()

    async def carry(self, device: PacketDevice) -> None:
        """Read this device until cancelled, then close it. Raises DeviceError when it disappears."""
        self._device = device
        try:
            while True:
                frames = await self._read(device)
                if self._guard.is_hushed:
                    frames = [bytes(frame) for frame in frames]
                    self._is_reader_waiting = True
                    await self._guard.wait_audible()
                    self._is_reader_waiting = False
                self._send(frames)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise DeviceError(f"the interface {device.name} is gone: somebody removed it; start again") from error
        finally:
            self._device = None
            self._is_reader_waiting = False
            self._pacing.clear()
            self.counts.overdue = self._pacing.dropped
            device.close()

    def send_answers(self) -> None:
        """After a batch was delivered: what our kernel answered to it leaves in the same turn of the event loop."""
        if not self._has_written or self._device is None:
            return
        if not self._guard.is_hushed and not self._is_reader_waiting:
            self._send(self._device.read_nowait())

    def deliver_untrusted(self, sender: Flow, plaintext: bytes) -> None:
        """Hand a peer's frames to the kernel, each if its inner source is that peer's and its destination ours.

        Otherwise the kernel would deliver it wherever it has a route: to this machine's other addresses, and with IP
        forwarding to the LAN.
        """
        if plaintext[:1] != BUNDLE:
            self._deliver(sender, plaintext)
            return
        try:
            frames = decode_bundle(plaintext)
        except MalformedFrame:
            self.counts.malformed += 1
            return
        for frame in frames:
            self._deliver(sender, frame)

    def _deliver(self, sender: Flow, frame: Buffer) -> None:
        counts = self.counts
        try:
            at = start_of_packet(frame)
            source, destination = addresses_of(frame, at)
        except MalformedFrame:
            counts.malformed += 1
            return
        if at and not is_sound(frame):
            counts.malformed += 1
        elif self._flow_of(source) is not sender:
            counts.forged_source += 1
        elif not self._is_own(destination) or leads_on(frame, at):
            counts.foreign_destination += 1
        elif self._write(frame):
            counts.into += 1
        else:
            counts.device_full += 1

    def _write(self, frame: Buffer) -> bool:
        device = self._device
        self._has_written = True
        try:
            if device is None:
                return False
            if frame[0] & PLAIN_BIT or offloads_for(frame) <= device.offloads:
                return device.write_nowait(frame)
            written = [device.write_nowait(packet) for packet in to_plain(frame)]
            return all(written)
        except trio.ClosedResourceError:  # it has just disappeared; the reader reports it
            return False

    async def _read(self, device: PacketDevice) -> Iterable[Buffer]:
        """The next frames; if what waits may leave before there are any, at once."""
        if self._pacing.due == math.inf:
            return await device.read_batch()
        with trio.move_on_at(self._pacing.due):
            return await device.read_batch()
        return device.read_nowait()  # a busy node would else find its deadline passed each time, and never read

    def _send(self, frames: Iterable[Buffer]) -> None:
        """Send what one read burst brought, to each peer in order, and what waited if there is room for it now."""
        now = trio.current_time()
        self._pacing.begin(now)
        self._has_written = False
        small: list[Buffer] = []
        for frame in frames:
            if len(frame) <= SMALL:
                small.append(bytes(frame))
                continue
            if small:
                self._send_small(small, now)
                small = []
            flow = self._accept(frame)
            if flow is not None:
                self._pass_on(flow, (frame,), now)
        if small:
            self._send_small(small, now)
        if now >= self._pacing.due:
            for flow, row in self._pacing.drain(now):
                self._outbound.send_data(flow, row, now)
            self.counts.overdue = self._pacing.dropped

    def _send_small(self, frames: Sequence[Buffer], now: float) -> None:
        if len(frames) > 1 and not self._guard.is_alert:
            count = len(frames)
            frames = filter_acks(frames)
            self.counts.superfluous += count - len(frames)
            frames = coalesce(frames)
        flows: dict[Flow, list[Buffer]] = {}
        for frame in frames:
            flow = self._accept(frame)
            if flow is not None:
                flows.setdefault(flow, []).append(frame)
        for flow, row in flows.items():
            self._pass_on(flow, row, now)

    def _pass_on(self, flow: Flow, frames: Sequence[Buffer], now: float) -> None:
        if self._pacing.passes(flow, frames):
            self._outbound.send_data(flow, frames, now)
        else:
            self._pacing.hold(flow, frames, now)

    def _accept(self, frame: Buffer) -> Flow | None:
        """The flow that a frame goes to; None if it is dropped, which is counted."""
        try:
            at = start_of_packet(frame)
            flow = self._flow_of(destination_of(frame, at))
        except MalformedFrame:
            self.counts.malformed += 1
            return None
        if flow is None:
            self.counts.no_peer += 1
        elif not self._guard.take(frame):
            self.counts.looped += 1
        elif not flow.takes_ip:
            self._refuse(bytes(frame[at:]))
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
