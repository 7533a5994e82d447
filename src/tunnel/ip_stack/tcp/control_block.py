"""What one connection consists of: the transmission control block (RFC 9293 section 3.3.1)."""

from __future__ import annotations

from math import inf

from tunnel.ip_stack.tcp.challenge_limit import ChallengeLimit
from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.errors import TcpError
from tunnel.ip_stack.tcp.handshake import Handshake
from tunnel.ip_stack.tcp.initial_numbers import InitialNumbers
from tunnel.ip_stack.tcp.keepalive import Keepalive
from tunnel.ip_stack.tcp.receiver import Receiver
from tunnel.ip_stack.tcp.segments import OutgoingSegment
from tunnel.ip_stack.tcp.sender import Sender
from tunnel.ip_stack.tcp.sequence import MASK
from tunnel.ip_stack.tcp.timestamps import Timestamps
from tunnel.machines.tcp_connection import TcpConnectionChart
from tunnel.wire.tcp import ACK, RST, SYN

SYNCHRONIZED = frozenset(TcpConnectionChart.sends_of) - {"listen", "syn_sent", "syn_received", "closed"}
"""States in which both SYNs are acknowledged."""

_TOLD = frozenset({"syn_received", "established", "fin_wait_1", "fin_wait_2", "close_wait"})
"""States in which the end of a connection is told to the peer; in the others the peer ends it too, or knows nothing."""


class ControlBlock:
    """The parts of a connection, and the moves of its chart. `arrival.py` and `connection.py` decide what happens."""

    __slots__ = (
        "challenges",
        "chart",
        "config",
        "error",
        "handshake",
        "is_established",
        "is_orphan",
        "is_shutdown_wanted",
        "keepalive",
        "mtu",
        "receiver",
        "replies",
        "sender",
        "soft_error",
        "state",
        "timestamps",
        "update",
        "wait_until",
    )

    def __init__(self, config: TcpConfig, initial: InitialNumbers, now: float, *, is_ipv6: bool) -> None:
        self.config = config
        self.mtu = config.mtu
        self.chart = TcpConnectionChart()
        self.state = self.chart.here
        self.handshake = Handshake(config, is_ipv6=is_ipv6, now=now)
        self.sender = Sender(config, self.handshake.segment_size(config.mtu), initial.sequence)
        self.receiver = Receiver(config, self.handshake.own_mss(config.mtu))
        self.timestamps = Timestamps(initial.timestamp)
        self.keepalive = Keepalive(config)
        self.challenges = ChallengeLimit()
        self.replies: list[OutgoingSegment] = []
        """Segments that leave at the next opportunity as they are: RST."""
        self.error: TcpError | None = None
        self.soft_error: TcpError | None = None
        """What ICMP said; it counts if the connection times out."""
        self.is_established = False
        self.is_shutdown_wanted = False
        """Whether the user has shut down while the handshake was not done."""
        self.is_orphan = False
        """Whether the user is gone."""
        self.update = 0, 0
        """SND.WL1 and SND.WL2: sequence number and acknowledgment of the segment that told the window last."""
        self.wait_until = inf
        """In TIME-WAIT: its end. Of an orphan: when FIN-WAIT-2 is given up."""

    def move(self, event: str) -> None:
        """The chart takes an event, which must be enabled."""
        self.chart.take(event, {})
        self.state = self.chart.here

    def establish(self, now: float) -> None:
        """Our SYN is acknowledged, and the peer's is read: the halves begin to work."""
        handshake, sender, receiver = self.handshake, self.sender, self.receiver
        sender.recovery.begin(handshake.segment_size(self.mtu))
        sender.recovery.has_sack = receiver.has_sack = handshake.has_sack
        receiver.timestamps = self.timestamps if handshake.has_timestamps else None
        receiver.scale = handshake.scale or 0
        if not handshake.is_resent:
            sender.recovery.rtt.sample(max(now - handshake.sent_at, 1e-6), now)
        handshake.done()
        self.is_established = True
        self.keepalive.heard(now)

    def shut_down(self) -> None:
        """FIN follows what the user has sent."""
        self.is_shutdown_wanted = False
        self.move("shutdown")
        self.sender.flight.has_fin = True

    def fail(self, error: TcpError) -> None:
        """It is over, without a word to the peer. What the user has not received is lost, unless all had come."""
        if self.state != "closed":
            self.move("close")
        self.error = error
        if not self.receiver.has_fin:
            self.receiver.buffer.clear()
        self.stop()

    def be_reset(self) -> None:
        """The peer's RST. In TIME-WAIT it may answer an old duplicate (RFC 1337), and nothing is missing."""
        if self.state == "time_wait":
            self.move("close")
            self.stop()
        else:
            self.fail(TcpError.RESET)

    def stop(self) -> None:
        """The state is `closed`: let go of what is to be sent, and of all timers."""
        self.sender.stop()
        self.receiver.acknowledge()
        self.keepalive.stop()
        self.handshake.done()
        self.wait_until = inf

    def reset(self, error: TcpError) -> None:
        """End it with RST, if the peer knows of us (RFC 9293 section 3.10.5)."""
        flight, receiver = self.sender.flight, self.receiver
        if self.state in _TOLD:
            number = (receiver.initial + receiver.next) & MASK
            sequence = 1 if self.state == "syn_received" else flight.nxt
            self.replies.append(OutgoingSegment((flight.initial + sequence) & MASK, number, RST | ACK, 0, b""))
        self.fail(error)

    def syn(self, now: float) -> OutgoingSegment:
        """Our SYN, or SYN-ACK when the peer's SYN is known."""
        flight, receiver, is_answer = self.sender.flight, self.receiver, self.state == "syn_received"
        options = self.handshake.options(self.timestamps.value(now), self.timestamps.recent)
        self.handshake.sent(now)
        window = min(receiver.edge - receiver.next, 0xFFFF)
        if not is_answer:
            return OutgoingSegment(flight.initial, 0, SYN, window, options)
        return OutgoingSegment(flight.initial, (receiver.initial + 1) & MASK, SYN | ACK, window, options)

    def challenge(self, now: float) -> None:
        """A segment was not acceptable: say what is expected, not too often (RFC 9293 section 3.10.7.4, RFC 5961)."""
        if self.challenges.allows(now):
            self.receiver.is_ack_due = True
