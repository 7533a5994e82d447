"""What the two SYNs agree on: MSS, window scale, timestamps and SACK; and when ours is sent again."""

from __future__ import annotations

from math import inf

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.receiver import window_scale_for
from tunnel.wire.tcp import TCP_HEADER_BYTES, TcpSegment, encode_syn_options

_FIRST_TIMEOUT = 1.0
"""RFC 6298 section 2.1."""
_DEFAULT_MSS4, _DEFAULT_MSS6 = 536, 1220
"""RFC 9293 section 3.7.1: of a peer that names none."""
_LEAST_MSS = 88
"""Of a peer that names less; as in Linux, so that a hostile one does not make us send single bytes."""
_TIMESTAMP_BYTES = 12


class Handshake:
    """One connection's. `options` are those of our SYN, or of our SYN-ACK once the peer's SYN was read."""

    __slots__ = (
        "_config",
        "_header",
        "_peer_mss",
        "_timeout",
        "deadline",
        "has_sack",
        "has_timestamps",
        "is_answer",
        "is_resent",
        "is_syn_due",
        "peer_scale",
        "scale",
        "sent_at",
        "since",
    )

    def __init__(self, config: TcpConfig, *, is_ipv6: bool, now: float) -> None:
        self._config = config
        self._header = (40 if is_ipv6 else 20) + TCP_HEADER_BYTES
        self._peer_mss = _DEFAULT_MSS6 if is_ipv6 else _DEFAULT_MSS4
        self.scale: int | None = window_scale_for(config.receive_buffer)
        """Ours; None: not agreed, like the peer's."""
        self.peer_scale = 0
        self.has_timestamps = self.has_sack = True
        self.is_answer = False
        self.is_syn_due = True
        self.is_resent = False
        self.since = now
        self.sent_at = now
        self.deadline = inf
        self._timeout = _FIRST_TIMEOUT

    def own_mss(self, mtu: int) -> int:
        """The MSS that we announce: what the peer may put into a packet, options of TCP counted in (RFC 6691)."""
        return mtu - self._header

    def segment_size(self, mtu: int) -> int:
        """Bytes of payload that we put into a segment."""
        most = min(self._peer_mss, mtu - self._header)
        return max(most, _LEAST_MSS) - _TIMESTAMP_BYTES * self.has_timestamps

    def read(self, syn: TcpSegment) -> None:
        """The peer's SYN or SYN-ACK: what it does not offer is not used."""
        if syn.mss:
            self._peer_mss = max(syn.mss, _LEAST_MSS)
        self.has_timestamps = syn.timestamp is not None
        self.has_sack = syn.sack_permitted
        self.peer_scale = syn.window_scale or 0
        if syn.window_scale is None:
            self.scale = None

    def options(self, timestamp: int, echo: int) -> bytes:
        """For our SYN, or the answer to the peer's."""
        return encode_syn_options(
            self.own_mss(self._config.mtu),
            self.scale,
            self.has_sack,
            (timestamp, echo) if self.has_timestamps else None,
        )

    def sent(self, now: float) -> None:
        """Our SYN left."""
        self.is_syn_due = False
        self.sent_at = now
        self.deadline = min(now + self._timeout, self.since + self._config.connect_timeout)

    def timeout(self, now: float) -> bool:
        """Our SYN was not acknowledged in time: send it again. Whether it is to be given up."""
        if now >= self.since + self._config.connect_timeout:
            return True
        self._timeout *= 2
        self.is_syn_due = self.is_resent = True
        self.deadline = inf
        return False

    def done(self) -> None:
        """Our SYN is acknowledged."""
        self.deadline = inf
        self.is_syn_due = False
