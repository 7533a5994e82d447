"""The bytes of one direction: waiting, in flight, and how they become segments."""

from __future__ import annotations

from typing import NamedTuple

from tunnel.ip_stack.tcp.scoreboard import Scoreboard
from tunnel.ip_stack.tcp.segments import OutgoingSegment
from tunnel.ip_stack.tcp.send_buffer import SendBuffer
from tunnel.ip_stack.tcp.sequence import MASK
from tunnel.wire.tcp import ACK, FIN, PSH


class Acknowledgment(NamedTuple):
    """What the receiving half says in every segment that goes out."""

    number: int
    window: int
    options: bytes


class Flight:
    """Offsets as in sequence.py. `una`: the first that is not acknowledged; `nxt`: the first that was never sent."""

    __slots__ = ("board", "buffer", "edge", "has_fin", "initial", "most_window", "mss", "nxt", "una")

    def __init__(self, mss: int, initial: int) -> None:
        """`mss`: bytes of payload in one segment; `initial`: our initial sequence number."""
        self.mss, self.initial = mss, initial
        self.buffer = SendBuffer(1)
        self.board = Scoreboard()
        self.una = self.nxt = 1
        self.edge = 1
        """The end of the peer's window."""
        self.most_window = 0
        """The largest window that the peer ever offered."""
        self.has_fin = False
        """Whether FIN follows what is in the buffer."""

    @property
    def end(self) -> int:
        """Behind everything that is to be sent, FIN included."""
        return self.buffer.end + self.has_fin

    @property
    def size(self) -> int:
        """What is neither acknowledged nor sacked nor lost: the pipe of RFC 6675."""
        return self.nxt - self.una - self.board.sacked - self.board.lost

    def offer(self, number: int, window: int) -> None:
        """The peer acknowledges up to `number` and takes `window` bytes from there."""
        self.edge = number + window
        if window > self.most_window:
            self.most_window = window

    def segment(self, start: int, end: int, acknowledgment: Acknowledgment) -> OutgoingSegment:
        """These offsets as one segment or superpacket."""
        data_end, flags = self.buffer.end, ACK
        if end >= data_end:
            flags = ACK | PSH if end == data_end else ACK | FIN
            end = data_end
        size = end - start
        number, window, options = acknowledgment
        return OutgoingSegment(
            (self.initial + start) & MASK,
            number,
            flags,
            window,
            options,
            self.buffer.slices(start, end) if size > 0 else (),
            max(size, 0),
            self.mss if size > self.mss else 0,
        )

    def window_probe(self, acknowledgment: Acknowledgment) -> OutgoingSegment:
        """An old sequence number, which the peer has to answer with an acknowledgment (RFC 9293 section 3.8.4)."""
        number, window, options = acknowledgment
        return OutgoingSegment((self.initial + self.una - 1) & MASK, number, ACK, window, options)
