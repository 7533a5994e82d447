"""The NAT inside a router: the outer endpoint of a packet that leaves, and the inner one of a packet that comes in.

It decides and remembers; router.py moves the packets.
"""

from __future__ import annotations

import random

from tunnel.model.endpoint import Endpoint
from tunnel.model.transport import Transport
from tunnel.verify.memory.packet import MemoryPacket
from tunnel.verify.reachability.topology import Nat, Unsolicited
from tunnel.verify.simulation.internet.allocation import allocator_of
from tunnel.verify.simulation.internet.mappings import MappingTable
from tunnel.verify.simulation.internet.openings import datagram_policy, stream_policy
from tunnel.verify.simulation.internet.static_mappings import StaticMappings


class Translator:
    """Both tables of a NAT, and its static mappings. `address` is the outer address and may be replaced."""

    def __init__(self, nat: Nat, address: str, statics: StaticMappings, chance: random.Random) -> None:
        self.nat = nat
        self.address = address
        self._statics = statics
        self._datagrams, self._streams = (
            MappingTable(nat.mapping, policy, allocator_of(nat, chance), max_mappings=nat.max_mappings)
            for policy in (datagram_policy(nat), stream_policy(nat.filtering))
        )
        self._denied: dict[Endpoint, float] = {}
        statics.begin_anew({Transport.UDP: self._datagrams, Transport.TCP: self._streams})

    def outward(self, packet: MemoryPacket, now: float) -> Endpoint | None:
        """The outer source of a packet that leaves; None if no port is free."""
        segment = packet.segment
        if not self._statics.is_empty:
            port = self._statics.port_of(Transport.UDP if segment is None else Transport.TCP, packet.source)
            if port is not None:
                return Endpoint(self.address, port)
        table = self._datagrams if segment is None else self._streams
        mapping = table.leave(packet.source, packet.destination, now)
        if mapping is None:
            return None
        if segment is not None:
            table.note_segment(mapping, packet.destination, segment.kind, outbound=True, now=now)
        return Endpoint(self.address, mapping.port)

    def inward(self, packet: MemoryPacket, now: float) -> Endpoint | None:
        """The inner destination of a packet that comes in; None: nothing lets it in.

        A packet with no hop left is not recorded: it will not be forwarded.
        """
        if self._denied and packet.segment is None and self._denied.get(packet.source, 0.0) > now:
            return None
        segment, port = packet.segment, packet.destination.port
        if not self._statics.is_empty:
            static = self._statics.at(Transport.UDP if segment is None else Transport.TCP, port)
            if static is not None:
                return static.inner
        table = self._datagrams if segment is None else self._streams
        mapping = table.find(port, packet.source, now)
        if mapping is None:
            return None
        if packet.ttl > 1:
            mapping.note_inbound(packet.source, now)
            if segment is not None:
                table.note_segment(mapping, packet.source, segment.kind, outbound=False, now=now)
        return mapping.inner

    def note_unsolicited(self, packet: MemoryPacket, now: float) -> None:
        """Record a packet that nothing let in, as the NAT's `unsolicited` says."""
        if self.nat.unsolicited is Unsolicited.DENY:
            if packet.segment is None and self._denied.get(packet.source, 0.0) <= now:
                self._denied[packet.source] = now + self.nat.deny_time
        elif self.nat.unsolicited is Unsolicited.TRACK:
            table = self._datagrams if packet.segment is None else self._streams
            table.note_stranger(packet.source, packet.destination.port, now + self.nat.unanswered_lifetime)

    def forget(self) -> None:
        """Forget all dynamic mappings, and who is denied."""
        self._datagrams.forget()
        self._streams.forget()
        self._denied.clear()

    def live_mappings(self, inner_host: str, transport: Transport, now: float) -> int:
        """How many dynamic mappings an inner address has."""
        table = self._datagrams if transport is Transport.UDP else self._streams
        return table.live_mappings(inner_host, now)
