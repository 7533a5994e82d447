"""Sequence numbers: 32 bits on the wire (RFC 9293 section 3.4), offsets that never wrap inside.

An offset counts from the initial sequence number: SYN is 0 and the first byte of data 1. Whoever compares offsets
compares plain integers; only what comes from the wire is unwrapped, near a number that is known.
"""

from __future__ import annotations

MASK = 0xFFFFFFFF
_HALF = 0x80000000


def unwrap(number: int, initial: int, near: int) -> int:
    """The offset whose number on the wire is `number`, within 2^31 of the offset `near`. May be negative."""
    return near + ((number - initial - near + _HALF) & MASK) - _HALF


def is_before(first: int, second: int) -> bool:
    """Whether one 32-bit number is less than another, modulo 2^32: for timestamps (RFC 7323 section 5.2)."""
    return (first - second) & MASK > _HALF
