"""A connection of the kernel moves whole buffers, wakes who waits when it is closed, and lets others run."""

from __future__ import annotations

import socket
import struct

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tunnel.network.os.tcp_stream import AT_ONCE, TcpStream


def connected() -> tuple[TcpStream, TcpStream]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.create_connection(listening.getsockname())
        other, _ = listening.accept()
    return TcpStream(one), TcpStream(other)


async def test_more_than_the_kernel_holds_goes_whole() -> None:
    one, other = connected()
    data = bytes(range(256)) * 65536
    received = bytearray()
    async with one, other, trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, memoryview(data))
        while len(received) < len(data):
            piece = await other.receive_some(100_000)
            assert 0 < len(piece) <= 100_000
            received += piece
    assert received == data


async def test_the_end_is_an_empty_read_and_a_reset_an_error() -> None:
    one, other = connected()
    await one.aclose()
    assert await other.receive_some() == b""
    await other.aclose()
    one, other = connected()
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await one.aclose()
    with pytest.raises(trio.BrokenResourceError, match="reset"):
        await other.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await other.send_all(b"x")
    await other.aclose()


async def test_what_was_closed_after_a_read_says_so() -> None:
    """Trio would wait for file descriptor -1: a ValueError, and who waits next is told that another task does."""
    one, other = connected()
    await other.send_all(b"x")
    assert await one.receive_some() == b"x"
    await one.aclose()
    for _ in range(2):
        with pytest.raises(trio.ClosedResourceError):
            await one.receive_some()
    await other.aclose()


async def test_closing_wakes_who_reads_and_who_writes() -> None:
    one, other = connected()

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await one.receive_some()

    async def write() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await one.send_all(bytes(1 << 26))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        await one.aclose()
    await one.aclose()
    for use in (one.receive_some, one.wait_send_all_might_not_block, lambda: one.send_all(b"x")):
        with pytest.raises(trio.ClosedResourceError):
            await use()
    await other.aclose()


async def test_others_have_a_turn_among_reads_that_need_not_wait() -> None:
    one, other = connected()
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            await trio.lowlevel.checkpoint()
            rounds += 1

    async with one, other, trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await one.send_all(bytes(10 * AT_ONCE))
        await other.wait_send_all_might_not_block()
        before = rounds
        for _ in range(5 * AT_ONCE):
            await other.receive_some(1)
        assert rounds - before >= 4
        nursery.cancel_scope.cancel()


async def test_a_cancelled_scope_reads_and_writes_nothing() -> None:
    one, other = connected()
    async with one, other:
        await one.send_all(b"kept")
        with trio.CancelScope() as scope:
            scope.cancel()
            await other.receive_some()
        assert await other.receive_some() == b"kept"
