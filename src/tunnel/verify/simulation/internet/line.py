"""An access line: what happens to packets between a host or router and the network that it is plugged into.

    lower end --transmit--> lane up   --> network.transmit
    owner     <--deliver--- lane down <-- network

It knows nothing of addresses. A packet's fate is decided when it enters, in this order: refused (a cut), too long,
lost, over the rate of datagrams, queue full. Byte streams do not see what kernels hide from them: they have no MTU
(segments fit the path), are never duplicated, stay in order and wait for a slow line as long as it takes (a sender
adapts to the line's rate).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import trio

from tunnel.verify.memory.packet import Ether, Fate, MemoryPacket, Network, Owner
from tunnel.verify.reachability.topology import Line

HEADERS4 = 28
HEADERS6 = 48
"""IP and UDP header, bytes."""


class AccessLine:
    """A network for whatever is plugged into its lower end. `conditions` may be replaced at any moment."""

    def __init__(self, network: Network, conditions: Line, *, ether: Ether, chance: random.Random) -> None:
        self.refuses: Callable[[MemoryPacket, bool], bool] | None = None
        """A cut: called with each packet and whether it goes up; True drops the packet."""
        self._network = network
        self._ether = ether
        self._up = _Direction(ether, chance)
        self._down = _Direction(ether, chance)
        self.conditions = conditions

    @property
    def conditions(self) -> Line:
        """The line's present properties."""
        return self._conditions

    @conditions.setter
    def conditions(self, line: Line) -> None:
        self._conditions = line
        self._up.change(line, line.loss_up, line.udp_loss_up, line.mtu_up, line.rate_up, line.udp_rate_up)
        self._down.change(line, line.loss_down, line.udp_loss_down, line.mtu_down, line.rate_down, line.udp_rate_down)

    def attach(self, address: str, owner: Owner) -> None:
        """Give the owner this address on the network above."""
        self._network.attach(address, _FarEnd(self, owner))

    def detach(self, address: str) -> None:
        """Withdraw the address."""
        self._network.detach(address)

    def transmit(self, packet: MemoryPacket) -> None:
        """A packet goes up."""
        if self.refuses is not None and self.refuses(packet, True):
            self._ether.settle(packet, Fate.DROPPED)
        elif self._up.is_plain:
            self._network.transmit(packet)
        else:
            self._up.carry(packet, self._network.transmit)

    def lower(self, packet: MemoryPacket, owner: Owner) -> None:
        """A packet comes down."""
        if self.refuses is not None and self.refuses(packet, False):
            self._ether.settle(packet, Fate.DROPPED)
        elif self._down.is_plain:
            owner.deliver(packet)
        else:
            self._down.carry(packet, owner.deliver)


class _FarEnd:
    """The upper end of the line, which the network above takes for the owner."""

    def __init__(self, line: AccessLine, owner: Owner) -> None:
        self.name = owner.name
        self._line = line
        self._owner = owner

    def deliver(self, packet: MemoryPacket) -> None:
        self._line.lower(packet, self._owner)


class _Direction:
    """One direction of a line."""

    def __init__(self, ether: Ether, chance: random.Random) -> None:
        self.is_plain = True
        """The line does nothing and nothing is under way: packets pass at once."""
        self._ether = ether
        self._chance = chance
        self._line = Line()
        self._loss = self._udp_loss = 0.0
        self._mtu: int | None = None
        self._rate: float | None = None
        self._udp_rate: float | None = None
        self._busy_until = self._policed_until = 0.0
        self._last_stream = self._last_datagram = 0.0
        self._under_way = 0

    def change(
        self, line: Line, loss: float, udp_loss: float, mtu: int | None, rate: float | None, udp_rate: float | None
    ) -> None:
        """Use other conditions from the next packet on."""
        self._line, self._mtu = line, mtu
        self._loss, self._udp_loss = loss, udp_loss
        self._rate, self._udp_rate = rate, udp_rate
        self._update_is_plain()

    def carry(self, packet: MemoryPacket, arrive: Callable[[MemoryPacket], None]) -> None:
        """Carry a packet, or lose it."""
        line, chance, now = self._line, self._chance, trio.current_time()
        is_stream = packet.segment is not None
        size = len(packet.payload) + (HEADERS6 if ":" in packet.source.host else HEADERS4)
        if self._mtu is not None and size > self._mtu and not is_stream:
            self._ether.settle(packet, Fate.OVERSIZE)
            return
        if self._loss and chance.random() < self._loss:
            self._ether.settle(packet, Fate.DROPPED)
            return
        if self._udp_loss and not is_stream and chance.random() < self._udp_loss:
            self._ether.settle(packet, Fate.DROPPED)
            return
        if self._udp_rate is not None and not is_stream:
            starts = max(now, self._policed_until)
            if starts - now > line.queue:
                self._ether.settle(packet, Fate.SHED)
                return
            self._policed_until = starts + size / self._udp_rate
        leaves = now
        if self._rate is not None:
            starts = max(now, self._busy_until)
            if starts - now > line.queue and not is_stream:
                self._ether.settle(packet, Fate.SHED)
                return
            leaves = self._busy_until = starts + size / self._rate
        due = leaves + line.latency
        if line.jitter:
            due += chance.uniform(0.0, line.jitter)
        if is_stream:
            due = self._last_stream = max(due, self._last_stream)
        elif line.reorder and chance.random() < line.reorder:
            due += line.reorder_delay
        elif not line.jitter:
            due = self._last_datagram = max(due, self._last_datagram)
        self._bring(packet, due - now, arrive)
        if line.duplicate and not is_stream and chance.random() < line.duplicate:
            self._bring(packet, due - now, arrive)

    def _bring(self, packet: MemoryPacket, delay: float, arrive: Callable[[MemoryPacket], None]) -> None:
        if delay <= 0.0 and not self._under_way:
            arrive(packet)
            return
        self._under_way += 1
        self._ether.schedule(delay, partial(self._arrive, packet, arrive))

    def _arrive(self, packet: MemoryPacket, arrive: Callable[[MemoryPacket], None]) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._update_is_plain()
        arrive(packet)

    def _update_is_plain(self) -> None:
        line = self._line
        self.is_plain = not (
            self._under_way
            or self._loss
            or self._udp_loss
            or self._mtu is not None
            or self._rate is not None
            or self._udp_rate is not None
            or line.latency
            or line.jitter
            or line.reorder
            or line.duplicate
        )
