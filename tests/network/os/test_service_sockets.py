"""A server's UDP sockets of the kernel: the answer comes from the address that was asked, on loopback."""

from __future__ import annotations

import socket

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.network.datagrams import BATCH, BATCH_BYTES, LEAST_COST, MAX_SEGMENTS, Segments
from tunnel.network.os.service_sockets import RealServiceSockets


@pytest.mark.parametrize(("wildcard", "asked"), [("0.0.0.0", "127.0.0.2"), ("0.0.0.0", "127.0.0.3"), ("::", "::1")])
async def test_an_answer_comes_from_the_address_that_was_asked(wildcard: str, asked: str) -> None:
    """The kernel alone would answer from 127.0.0.1, as from the first address of a machine that has two."""
    server = await RealServiceSockets().open_service_socket(Endpoint(wildcard, 0))
    with socket.socket(socket.AF_INET6 if ":" in asked else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("::1" if ":" in asked else "127.0.0.1", 0))
        client.settimeout(5)
        client.sendto(b"question", (asked, server.local.port))
        with trio.fail_after(5):
            [(datagram, remote, own)] = await server.receive_batch()
        assert (datagram, own, remote.port) == (b"question", asked, client.getsockname()[1])
        assert server.send_nowait(b"answer", remote, own)
        answer, source = client.recvfrom(100)
        assert (answer, source[:2]) == (b"answer", (asked, server.local.port))
    server.close()


async def test_a_socket_at_one_address_speaks_from_there_alone() -> None:
    one = await RealServiceSockets().open_service_socket(Endpoint("127.0.0.2", 0))
    other = await RealServiceSockets().open_service_socket(Endpoint("127.0.0.3", 0))
    for number in range(BATCH + 36):
        assert one.send_nowait(number.to_bytes(2), other.local, "127.0.0.2")
    with trio.fail_after(5):
        batches = [await other.receive_batch(), await other.receive_batch()]
    assert [len(batch) for batch in batches] == [BATCH, 36]
    assert batches[0][0] == (b"\0\0", one.local, "127.0.0.3")
    one.close()
    other.close()


async def test_a_flood_of_tiny_datagrams_in_rows_leaves_others_their_turn() -> None:
    """One read brings 64 of them. By reads alone a turn took 16,384, for which others waited for 0.2 s."""
    one = await RealServiceSockets().open_service_socket(Endpoint("127.0.0.2", 0))
    other = await RealServiceSockets().open_service_socket(Endpoint("127.0.0.3", 0))
    row = Segments(bytes(MAX_SEGMENTS), other.local, 1)
    for _ in range(BATCH):
        assert one.send_segments(row, other.local, "127.0.0.2") == MAX_SEGMENTS
    with trio.fail_after(5):
        turns = [[len(read.datagrams()) for read in await other.receive_segments()] for _ in range(3)]
    assert all(BATCH <= sum(datagrams) <= BATCH_BYTES // LEAST_COST for datagrams in turns)
    one.close()
    other.close()


def test_full_datagrams_in_rows_count_as_their_bytes() -> None:
    remote = Endpoint("127.0.0.3", 9)
    assert [Segments(bytes(size), remote, 1200).cost for size in (1201, 48_000, 60_001)] == [1201, 48_000, 60_001]
    assert Segments(bytes(65535), remote).cost == 65535


async def test_an_address_that_is_not_ours_sends_nothing() -> None:
    """It was taken from the machine since it was asked there."""
    server = await RealServiceSockets().open_service_socket(Endpoint("0.0.0.0", 0))
    assert not server.send_nowait(b"x", Endpoint("127.0.0.1", 9), "203.0.113.77")
    server.close()
    with pytest.raises(trio.ClosedResourceError):
        server.send_nowait(b"x", Endpoint("127.0.0.1", 9), "127.0.0.1")
    with pytest.raises(trio.ClosedResourceError):
        await server.receive_batch()
