"""The send buffer against a plain string of bytes."""

from __future__ import annotations

import random

import pytest

from tunnel.ip_stack.tcp.send_buffer import SendBuffer


@pytest.mark.parametrize("seed", range(20))
def test_it_gives_the_bytes_that_were_appended(seed: int) -> None:
    """In pieces of any size, released bit by bit, small and large writes mixed."""
    chance = random.Random(seed)
    buffer, whole = SendBuffer(1), b"\0"
    for _ in range(300):
        match chance.randrange(4):
            case 0 | 1:
                data = chance.randbytes(chance.choice((1, 3, 100, 4095, 4096, 20_000)))
                buffer.append(chance.choice((bytes, bytearray, memoryview))(data))
                whole += data
            case 2:
                buffer.release(chance.randint(buffer.start, buffer.end))
            case _:
                start = chance.randint(buffer.start, buffer.end)
                end = chance.randint(start, buffer.end)
                assert b"".join(buffer.slices(start, end)) == whole[start:end]
        assert buffer.end == len(whole)


def test_a_callers_buffer_may_change_afterwards() -> None:
    """`send` of a bytearray copies it."""
    data = bytearray(10_000)
    buffer = SendBuffer(1)
    buffer.append(data)
    data[:] = b"x" * 10_000
    assert b"".join(buffer.slices(1, 10_001)) == bytes(10_000)


def test_slices_stay_as_they_were_when_more_is_appended() -> None:
    """They may wait in a queue of the stack; a small write must not grow into them, nor fail because they are held."""
    buffer = SendBuffer(1)
    buffer.append(b"abc")
    slices = buffer.slices(1, 4)
    buffer.append(b"def")
    assert b"".join(slices) == b"abc"
    assert b"".join(buffer.slices(2, 7)) == b"bcdef"


def test_large_bytes_are_not_copied() -> None:
    data = bytes(60_000)
    buffer = SendBuffer(1)
    buffer.append(data)
    (whole,) = buffer.slices(1, 60_001)
    assert whole is data


def test_small_writes_share_chunks() -> None:
    """A chunk costs more than a byte by far."""
    buffer = SendBuffer(1)
    for _ in range(10_000):
        buffer.append(b"x")
    assert len(buffer.slices(1, 10_001)) == 3
