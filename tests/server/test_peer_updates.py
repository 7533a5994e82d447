"""What a slow reader misses: only what is out of date; and what it costs: at most a note for each peer."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.rates import TokenBucket
from tunnel.server.peer_updates import Introduction, PeerSignal
from tunnel.server.presence import Member, Presence
from tunnel.wire.signals import Announce, Circuit, Introduced, PeerDown, PeerUp, Refusal, Signal

HOME = NetworkId(b"h" * 16)
EPOCH = b"e" * 16
KEY = b"k" * 32


class Box:
    """A mailbox that nobody uses here."""

    def send_signal(self, signal: Signal) -> None:
        raise AssertionError

    def queue_relay(self, handle: bytes, datagram: bytes) -> bool:
        raise AssertionError

    def flush_relay(self) -> None:
        raise AssertionError


class Room:
    """A presence, and its members by name."""

    def __init__(self) -> None:
        self.presence = Presence(100)
        self.members: dict[str, Member] = {}

    def join(self, *names: str) -> None:
        for name in names:
            node = NodeId(name.encode().ljust(16, b"."))
            self.members[name] = Member(HOME, node, Box(), lambda code, text: None, TokenBucket(1e6, 1e6, 0.0))
            self.presence.join(self.members[name])

    def announce(self, name: str, seq: int = 1, body: bytes = b"body", epoch: bytes = EPOCH) -> None:
        member = self.members[name]
        assert self.presence.announce(member, Announce(epoch, seq, body))
        self.presence.pass_on(member)

    def introduce(self, to: str, peer: str, request: int | None = None) -> None:
        self.members[to].updates.introduce(self.id(peer), Introduction(5, 0.0, request))

    def leave(self, name: str) -> None:
        self.presence.leave(self.members[name])

    def id(self, name: str) -> NodeId:
        return self.members[name].node

    def told(self, name: str) -> list[PeerSignal]:
        words = []
        while (word := self.members[name].updates.take_nowait()) is not None:
            words.append(word)
        return words


@pytest.fixture
def room(autojump_clock: MockClock) -> Room:
    return Room()


async def test_a_slow_member_is_behind_by_one_word_a_peer(room: Room) -> None:
    room.join("desk", "other", "slow")
    room.announce("other")
    assert room.told("slow") == [PeerUp(room.id("other").raw, EPOCH, 1, b"body")]
    for seq in range(1, 1000):
        room.announce("desk", seq)
    room.leave("other")
    assert len(room.members["slow"].updates) == 2
    assert room.told("slow") == [
        PeerUp(room.id("desk").raw, EPOCH, 999, b"body"),
        PeerDown(room.id("other").raw, "lost"),
    ]


async def test_of_peers_that_came_and_went_untold_nothing_is_left(room: Room) -> None:
    """Keys are free: who makes thousands of them fills no memory with words that nobody reads."""
    room.join("desk", "slow")
    slow = room.members["slow"]
    for number in range(1000):
        name = f"key {number}"
        room.join(name)
        room.announce(name)
        room.introduce("slow", name)
        slow.updates.note_circuit(room.id(name), Circuit(room.id(name).raw, number + 1, KEY))
        room.leave(name)
    assert len(slow.updates) == 0
    assert room.told("slow") == []


async def test_an_announcement_is_looked_up_when_it_is_told(room: Room) -> None:
    """So no body is held for a reader, however many pairs are introduced while it does not read."""
    room.join("desk", "slow")
    room.announce("slow", 3)
    room.announce("desk", 1, b"old")
    room.introduce("slow", "desk")
    room.announce("desk", 2, b"new")
    desk = room.id("desk").raw
    assert room.told("slow") == [
        PeerUp(desk, EPOCH, 2, b"new"),
        Introduced(5, desk, EPOCH, 2, b"new", EPOCH, 3, 0.0),
    ]


async def test_all_are_told_of_one_announcement_by_one_signal(room: Room) -> None:
    """Which is made, and encoded, once."""
    room.join("desk", "laptop", "till")
    room.announce("desk")
    (one,), (other,) = room.told("laptop"), room.told("till")
    assert one is other


async def test_whom_an_introduction_brought_up_is_told_down_again(room: Room) -> None:
    room.join("desk", "laptop")
    room.announce("laptop")
    assert room.presence.announce(room.members["desk"], Announce(EPOCH, 1, b"body"))
    room.introduce("laptop", "desk")
    assert [type(word) for word in room.told("laptop")] == [Introduced]
    room.leave("desk")
    assert room.told("laptop") == [PeerDown(room.id("desk").raw, "lost")]


async def test_who_asked_for_an_introduction_hears_why_there_is_none(room: Room) -> None:
    """The peer has left, or has registered anew and not announced yet. Others need no word of it."""
    room.join("desk", "asker", "asked")
    for name in ("desk", "asker", "asked"):
        room.announce(name)
    for name in ("asker", "asked"):
        room.told(name)
    room.introduce("asker", "desk", request=7)
    room.introduce("asked", "desk")
    room.join("desk")
    (refusal,) = room.told("asker")
    assert isinstance(refusal, Refusal)
    assert (refusal.id, refusal.peer, refusal.code) == (7, room.id("desk").raw, "peer_offline")
    assert room.told("asked") == []


async def test_a_flood_of_one_kind_of_news_delays_no_other_kind(room: Room) -> None:
    names = [f"peer {number}" for number in range(10)]
    room.join("slow", *names)
    room.announce("slow")
    for name in names:
        room.announce(name)
    room.introduce("slow", names[9])
    circuit = Circuit(room.id(names[9]).raw, 3, KEY)
    room.members["slow"].updates.note_circuit(room.id(names[9]), circuit)
    first = room.told("slow")[:3]
    assert {type(word) for word in first} == {PeerUp, Introduced, Circuit}


async def test_news_are_waited_for(room: Room) -> None:
    room.join("desk", "laptop")
    heard: list[PeerSignal | None] = []

    async def listen() -> None:
        await room.members["laptop"].updates.wait_some()
        heard.append(room.members["laptop"].updates.take_nowait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        assert heard == []
        room.announce("desk")
    assert heard == [PeerUp(room.id("desk").raw, EPOCH, 1, b"body")]
