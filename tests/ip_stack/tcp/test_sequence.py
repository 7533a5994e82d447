"""Sequence numbers modulo 2^32 (RFC 9293 section 3.4)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunnel.ip_stack.tcp.sequence import MASK, is_before, unwrap


@given(st.integers(0, 1 << 50), st.integers(-(1 << 31), (1 << 31) - 1), st.integers(0, MASK))
def test_an_offset_is_found_again_near_a_known_one(near: int, distance: int, initial: int) -> None:
    """However often the numbers have wrapped."""
    assert unwrap((initial + near + distance) & MASK, initial, near) == near + distance


@given(st.integers(0, MASK), st.integers(1, (1 << 31) - 1))
def test_before_is_modulo_two_to_the_32(first: int, distance: int) -> None:
    second = (first + distance) & MASK
    assert is_before(first, second)
    assert not is_before(second, first)
    assert not is_before(first, first)
