"""What applications send through the tunnel in a run, and what arrives."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from tunnel.verify.simulation.scenarios.action import LEAST_SIZE

_HEAD = struct.Struct("!12sQ")
MARK = b"in the clear"


class Hole(NamedTuple):
    """An interval in which nothing arrived."""

    length: float
    """Seconds."""
    ends: float


@dataclass(slots=True)
class Traffic:
    """Numbered datagrams from one host to another. The padding repeats the number, so damage shows."""

    who: str
    to: str
    sent: list[float] = field(default_factory=list)
    """When each was sent; the index is its number."""
    arrived: dict[int, float] = field(default_factory=dict)
    """When each first arrived, by number, in the order of arrival."""
    repeated: int = 0
    damaged: int = 0
    """Datagrams that were never sent, or were altered."""

    def next_datagram(self, size: int, now: float) -> bytes:
        """The next datagram, of `size` bytes (at least 20)."""
        number = len(self.sent)
        self.sent.append(now)
        return encode_datagram(number, size)

    def note_arrival(self, datagram: bytes, now: float) -> None:
        """Record a datagram that came out of the tunnel."""
        number = int.from_bytes(datagram[len(MARK) : LEAST_SIZE], "big")
        if number >= len(self.sent) or datagram != encode_datagram(number, len(datagram)):
            self.damaged += 1
        elif number in self.arrived:
            self.repeated += 1
        else:
            self.arrived[number] = now

    def lost(self, now: float) -> list[float]:
        """When each lost datagram was given up: those that had a second to arrive by `now`, and did not."""
        return [at + 1.0 for number, at in enumerate(self.sent) if at <= now - 1.0 and number not in self.arrived]

    def lost_share(self, begin: float, end: float) -> float | None:
        """The share of what was sent from `begin` on and before `end` that never arrived; None: nothing was sent."""
        sent = [number for number, at in enumerate(self.sent) if begin <= at < end]
        return sum(number not in self.arrived for number in sent) / len(sent) if sent else None

    def is_carried_after(self, moment: float) -> bool:
        """Whether anything that was sent after a moment arrived."""
        return any(self.sent[number] > moment for number in self.arrived)

    @property
    def first_after(self) -> float | None:
        """Seconds from the first sending to the first arrival."""
        return min(self.arrived.values()) - self.sent[0] if self.arrived else None

    def longest_hole(self) -> Hole:
        """The longest time without an arrival while datagrams were sent, from the first arrival on."""
        if not self.arrived:
            return Hole(self.sent[-1] - self.sent[0], self.sent[-1]) if self.sent else Hole(0.0, 0.0)
        times = sorted(self.arrived.values())
        holes = [Hole(later - earlier, later) for earlier, later in pairwise(times)]
        last = Hole(max(0.0, self.sent[-1] - times[-1]), max(self.sent[-1], times[-1]))
        return max([last, *holes], key=lambda hole: hole.length)


def encode_datagram(number: int, size: int) -> bytes:
    """The datagram with this number."""
    return _HEAD.pack(MARK, number) + bytes([number & 0xFF]) * (size - LEAST_SIZE)
