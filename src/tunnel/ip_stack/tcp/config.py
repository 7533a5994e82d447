"""What may be set on a TCP connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TcpConfig:
    """Sizes are in bytes, times in seconds. A connection keeps the one it was made with."""

    mtu: int = 1400
    """The largest IP packet to or from the peer. The MSS follows from it."""
    send_buffer: int = 4 << 20
    """The most that `send` accepts ahead of the peer's acknowledgments; it begins with `least_buffer`."""
    receive_buffer: int = 4 << 20
    """The most that the peer may send ahead of `receive`; it begins with `least_buffer`."""
    least_buffer: int = 256 << 10
    superpacket: int = 60_000
    """The most payload of one outgoing segment. One MSS or less: no superpackets."""
    is_nagling: bool = False
    """Whether a short segment waits until all before it are acknowledged (RFC 9293 section 3.7.4)."""
    delayed_ack: float = 0.04
    connect_timeout: float = 60.0
    """Until a handshake is given up."""
    user_timeout: float = 120.0
    """For how long sent data may stay unacknowledged (RFC 5482)."""
    keepalive_idle: float | None = 7200.0
    """After what silence the peer is probed (RFC 9293 section 3.8.4). None: never."""
    keepalive_interval: float = 75.0
    keepalive_probes: int = 9
    """Unanswered probes after which the connection is given up."""
    time_wait: float = 60.0
    """2 MSL."""
    orphan_timeout: float = 60.0
    """For how long a connection that its user has closed waits for the peer's FIN."""
    least_rto: float = 0.2
    max_rto: float = 60.0
