"""What waits for a reader: bounded in bytes for each peer and for the node, and gone with the peer."""

from __future__ import annotations

import pytest
import trio

from tunnel.model.identity import NodeId
from tunnel.node.inboxes import NODE_BYTES, OVERHEAD, PEER_BYTES, PEER_DATAGRAMS, Inboxes
from tunnel.wire.session_packets import MAX_APPLICATION_DATAGRAM

ONE, TWO = (NodeId(bytes([number]) * 16) for number in (1, 2))


@pytest.fixture
def inboxes() -> Inboxes:
    inboxes = Inboxes(is_read=True)
    for peer in (ONE, TWO):
        inboxes.admit(peer)
    return inboxes


async def test_what_was_put_is_taken_in_order(inboxes: Inboxes) -> None:
    for datagram in (b"", b"a", b"bc"):
        inboxes.put(ONE, datagram)
    assert inboxes.size == 3 + 3 * OVERHEAD
    assert [await inboxes.take(ONE) for _ in range(3)] == [b"", b"a", b"bc"]
    assert inboxes.size == 0


async def test_a_reader_waits_for_its_peer(inboxes: Inboxes, autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:

        async def put() -> None:
            await trio.sleep(1.0)
            inboxes.put(TWO, b"two")
            await trio.sleep(1.0)
            inboxes.put(ONE, b"one")

        nursery.start_soon(put)
        assert await inboxes.take(ONE) == b"one"
        assert trio.current_time() == 2.0


async def test_whoever_reads_from_all_hears_each_in_turn(inboxes: Inboxes) -> None:
    """One that sends much keeps nobody from being heard."""
    for _ in range(3):
        inboxes.put(ONE, b"1")
    inboxes.put(TWO, b"2")
    assert [(await inboxes.take_any())[0] for _ in range(4)] == [ONE, TWO, ONE, ONE]


@pytest.mark.parametrize("size", [0, 100, MAX_APPLICATION_DATAGRAM])
def test_one_peer_has_a_bound_in_datagrams_and_bytes(inboxes: Inboxes, size: int) -> None:
    for _ in range(2 * PEER_DATAGRAMS):
        inboxes.put(ONE, bytes(size))
    assert inboxes.size <= min(PEER_BYTES, PEER_DATAGRAMS * (size + OVERHEAD))
    assert inboxes.counts.dropped >= PEER_DATAGRAMS


async def test_however_many_peers_send_the_node_has_a_bound_and_who_sends_little_is_heard(inboxes: Inboxes) -> None:
    """Keys cost a member nothing."""
    inboxes.put(ONE, b"hello")
    for number in range(100):
        peer = NodeId(number.to_bytes(16, "big"))
        inboxes.admit(peer)
        for _ in range(PEER_DATAGRAMS):
            inboxes.put(peer, bytes(MAX_APPLICATION_DATAGRAM))
        assert inboxes.size <= NODE_BYTES
    assert await inboxes.take(ONE) == b"hello"


def test_what_is_too_long_is_not_kept(inboxes: Inboxes) -> None:
    inboxes.put(ONE, bytes(MAX_APPLICATION_DATAGRAM + 1))
    assert (inboxes.size, inboxes.counts.too_long) == (0, 1)


def test_where_nobody_reads_nothing_is_kept() -> None:
    inboxes = Inboxes(is_read=False)
    inboxes.admit(ONE)
    inboxes.put(ONE, b"hello")
    assert (inboxes.size, inboxes.counts.unread) == (0, 1)


def test_what_a_peer_sent_goes_with_it(inboxes: Inboxes) -> None:
    inboxes.put(ONE, b"hello")
    inboxes.put(TWO, b"hello")
    inboxes.drop(ONE)
    inboxes.drop(ONE)
    assert (inboxes.size, len(inboxes)) == (5 + OVERHEAD, 1)


async def test_of_all_the_peers_that_ever_were_nothing_is_left(inboxes: Inboxes) -> None:
    """A node that runs for years meets more than it has at once; what some of them sent last comes after their end."""
    for number in range(1000):
        peer = NodeId(number.to_bytes(16, "big"))
        inboxes.admit(peer)
        inboxes.put(peer, b"hello")
        if number % 2:
            assert await inboxes.take(peer) == b"hello"
        inboxes.drop(peer)
        inboxes.put(peer, b"a word too late")
    assert (inboxes.size, len(inboxes), inboxes.counts.unread) == (0, 2, 1000)
