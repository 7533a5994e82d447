"""Reassembly against a plain array of bytes."""

from __future__ import annotations

import random
import sys
from itertools import pairwise

import pytest

from tunnel.ip_stack.tcp.receive_buffer import MOST_RANGES, ReceiveBuffer


@pytest.mark.parametrize("seed", range(40))
def test_bytes_come_out_in_order_however_they_arrive(seed: int) -> None:
    """Overlapping, repeated, in any order, in pieces of one byte to many; SACK blocks name exactly what is there."""
    chance = random.Random(seed)
    whole = chance.randbytes(60_000)
    buffer, out, there = ReceiveBuffer(1), bytearray(), bytearray(len(whole))
    most = chance.choice((5, 300, 9_000))
    while buffer.next <= len(whole):
        start = max(buffer.next, min(len(whole), buffer.next + int(chance.expovariate(1 / (3 * most))) - most))
        end = min(len(whole) + 1, start + chance.randint(1, most))
        before = buffer.reordered
        buffer.store(start, memoryview(whole)[start - 1 : end - 1])
        if buffer.reordered != before or start <= buffer.next:
            there[start - 1 : end - 1] = b"\1" * (end - start)
        if chance.random() < 0.3:
            out += buffer.take(chance.randint(1, 20_000))
        blocks = sorted(buffer.sack_blocks(MOST_RANGES))
        assert all(end < start for (_, end), (start, _) in pairwise(blocks))
        assert all(start > buffer.next for start, _ in blocks)
        assert sum(end - start for start, end in blocks) == buffer.reordered
    while data := buffer.take(1 << 16):
        out += data
    assert bytes(out) == whole
    assert not buffer.has_gap
    assert not buffer.readable


def test_the_range_that_grew_last_is_the_first_block() -> None:
    """RFC 2018 section 4: so each block is told several times, and a lost acknowledgment loses nothing."""
    buffer = ReceiveBuffer(1)
    for start in (100, 300, 200, 110):
        buffer.store(start, b"x" * 10)
    assert buffer.sack_blocks(3) == [(100, 120), (200, 210), (300, 310)]


def test_a_gap_that_is_filled_joins_its_neighbors() -> None:
    buffer = ReceiveBuffer(1)
    buffer.store(10, b"b" * 10)
    buffer.store(30, b"d" * 10)
    buffer.store(20, b"c" * 10)
    assert buffer.sack_blocks(3) == [(10, 40)]
    buffer.store(1, b"a" * 9)
    assert buffer.take(100) == b"a" * 9 + b"b" * 10 + b"c" * 10 + b"d" * 10
    assert buffer.next == 40


def test_no_more_ranges_are_kept_than_bounded() -> None:
    """Single bytes with gaps between them would cost a hundred times their size."""
    buffer = ReceiveBuffer(1)
    for start in range(3, 100_003, 2):
        buffer.store(start, b"x")
    assert buffer.reordered == MOST_RANGES


@pytest.mark.parametrize("order", ["rising", "falling"])
def test_tiny_pieces_share_memory(order: str) -> None:
    """A megabyte in single bytes costs a few megabytes at most."""
    buffer = ReceiveBuffer(1)
    places = range(2, 100_002) if order == "rising" else range(100_001, 1, -1)
    for start in places:
        buffer.store(start, b"x")
    (found,) = buffer._ranges
    assert sum(map(sys.getsizeof, found.chunks)) < 2 * 100_000


def test_a_large_chunk_is_given_as_it_is() -> None:
    data = bytes(50_000)
    buffer = ReceiveBuffer(1)
    buffer.store(1, data)
    buffer.store(50_001, data)
    assert buffer.take(60_000) is data


def test_what_is_there_is_known() -> None:
    buffer = ReceiveBuffer(1)
    buffer.store(1, b"x" * 9)
    buffer.store(20, b"x" * 10)
    assert buffer.covers(3, 10)
    assert buffer.covers(22, 30)
    assert not buffer.covers(9, 11)
    assert not buffer.covers(22, 31)
