"""Why a connection failed, and what ICMP says about its packets."""

from __future__ import annotations

from enum import Enum


class TcpError(Enum):
    """Why a connection ended before both ends had closed it."""

    REFUSED = "refused"
    """The peer answered the first SYN with RST."""
    RESET = "reset"
    """The peer sent RST."""
    TIMED_OUT = "timed out"
    """The peer did not answer: to SYN, data or keepalive."""
    UNREACHABLE = "unreachable"
    """ICMP said so, before the connection stood or while it timed out."""
    ABORTED = "aborted"
    """We ended it: `abort`, or `close` with data unread."""


class IcmpError(Enum):
    """An ICMP error that quotes a segment of ours (RFC 792, RFC 4443, RFC 5927)."""

    UNREACHABLE = "unreachable"
    """Network, host, address; also a hop limit that was exceeded."""
    PORT_UNREACHABLE = "port unreachable"
    """Port or protocol."""
    PROHIBITED = "prohibited"
    PACKET_TOO_BIG = "packet too big"
