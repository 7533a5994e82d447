"""A node that announces endlessly is passed on at a pace that fits the size of its network."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.rates import TokenBucket
from tunnel.network.fair_queueing import FairQueue, Share
from tunnel.server.announcement_pacing import AT_ONCE, MESSAGES_RATE, AnnouncementPacer
from tunnel.server.presence import Member, Presence
from tunnel.wire.signals import Announce, PeerUp, Signal

EPOCH = b"e" * 16


class Box:
    """A mailbox that nobody uses here."""

    def send_signal(self, signal: Signal) -> None:
        raise AssertionError

    def queue_relay(self, handle: bytes, datagram: bytes) -> bool:
        raise AssertionError

    def flush_relay(self) -> None:
        raise AssertionError


def join(presence: Presence, name: str) -> Member:
    node = NodeId(name.encode().ljust(16, b"."))
    member = Member(NetworkId(b"h" * 16), node, Box(), lambda code, text: None, TokenBucket(1e6, 1e6, 0.0))
    presence.join(member)
    return member


async def announce_for(seconds: float, others: int, gap: float = 0.01) -> tuple[list[int], int]:
    """What a reader is told of one that announces each `gap` seconds: the numbers, and the last one announced."""
    presence = Presence(1000)
    desk, reader = join(presence, "desk"), join(presence, "reader")
    for number in range(others - 1):
        join(presence, f"n{number}")
    pacer, told, seq = AnnouncementPacer(presence, desk, Share(FairQueue())), list[int](), 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pacer.run)
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            seq += 1
            assert presence.announce(desk, Announce(EPOCH, seq, b""))
            pacer.note()
            await trio.sleep(gap)
            word = reader.updates.take_nowait()
            if isinstance(word, PeerUp):
                told.append(word.seq)
        nursery.cancel_scope.cancel()
    return told, seq


async def test_the_first_few_announcements_are_told_at_once(autojump_clock: MockClock) -> None:
    """A node that starts announces what it has, then what STUN found, then what its router opened."""
    told, _ = await announce_for(0.5, others=400)
    assert told == [1, 2, 3]
    assert len(told) == AT_ONCE


@pytest.mark.parametrize("others", [10, 100, 400])
async def test_the_rest_are_paced_by_how_many_must_be_told(autojump_clock: MockClock, others: int) -> None:
    """Sixty members that announced eight times a second, 28 kB/s together, took a whole core."""
    seconds = 80.0
    told, _ = await announce_for(seconds, others)
    assert AT_ONCE <= len(told) <= AT_ONCE + seconds * MESSAGES_RATE / others


async def test_the_newest_announcement_is_told_in_the_end(autojump_clock: MockClock) -> None:
    presence = Presence(1000)
    desk, reader = join(presence, "desk"), join(presence, "reader")
    pacer = AnnouncementPacer(presence, desk, Share(FairQueue()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pacer.run)
        for seq in range(1, 1000):
            presence.announce(desk, Announce(EPOCH, seq, b""))
            pacer.note()
            await trio.sleep(0.001)
        await trio.sleep(1.0)
        nursery.cancel_scope.cancel()
    word = reader.updates.take_nowait()
    assert isinstance(word, PeerUp)
    assert word.seq == 999
