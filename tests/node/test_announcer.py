"""The announcement in virtual time: said again until the server has acknowledged it, and never given up."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest
import trio

from tunnel.crypto.announcement_seal import open_announcement
from tunnel.crypto.network_keys import derive_network_keys
from tunnel.crypto.node_keys import NodeKeys
from tunnel.machines.notifier import Notifier
from tunnel.model.announcement import Announcement
from tunnel.model.nat import NatReport
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.node.announcer import Announcer
from tunnel.node.identity import Identity
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.wire.announcement_body import decode_announcement
from tunnel.wire.signals import Announce, Signal

NETWORK = derive_network_keys("home", sha256(b"a secret for tests").digest())
LADDER = [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 61.0, 91.0, 121.0]
"""At once, then after 1, 2, 4, 8, 16 and each 30 s."""


class Desk:
    """A node that only announces, and a server that only listens."""

    def __init__(self) -> None:
        keys = NodeKeys(sha256(b"desk").digest())
        self.body = Announcement("desk", keys.public, (), (), NatReport())
        self.has_verdict = True
        self.news = Notifier()
        self.changes = 0
        """How often the peers were told."""
        self.heard: list[tuple[float, Announce]] = []
        self.announcer = Announcer(
            Identity(keys, bytes(16)),
            NETWORK,
            self,
            self,
            self,
            news=self.news,
            timings=DEFAULT_TIMINGS,
            entropy=MemoryEntropy(random.Random(1)),
        )

    def announcement(self) -> tuple[Announcement, bool]:
        return self.body, self.has_verdict

    def note_change(self) -> None:
        self.changes += 1

    def send_signal(self, signal: Signal) -> bool:
        assert isinstance(signal, Announce)
        self.heard.append((trio.current_time(), signal))
        return True

    def times_since(self, began: float) -> list[float]:
        return [round(at - began, 3) for at, _ in self.heard if at >= began]

    def said(self, announce: Announce) -> Announcement:
        """What a member reads in it."""
        node = NodeKeys(sha256(b"desk").digest()).id
        return decode_announcement(
            open_announcement(
                NETWORK.announcement_key, node=node, epoch=announce.epoch, seq=announce.seq, sealed=announce.body
            )
        )


@pytest.fixture
async def desk(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Desk]:
    desk = Desk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.announcer.run)
        yield desk
        nursery.cancel_scope.cancel()


async def test_an_announcement_is_said_again_on_the_ladder_and_never_given_up(desk: Desk) -> None:
    desk.announcer.note_registered()
    await trio.sleep(130.0)
    assert desk.times_since(desk.heard[0][0]) == LADDER
    assert [announce.seq for _, announce in desk.heard] == list(range(1, len(LADDER) + 1))


async def test_an_acknowledged_announcement_is_not_said_again(desk: Desk) -> None:
    desk.announcer.note_registered()
    await trio.sleep(2.0)
    desk.announcer.note_acknowledged(desk.heard[-1][1].seq)
    said = len(desk.heard)
    await trio.sleep(300.0)
    assert (desk.announcer.state, len(desk.heard)) == ("acknowledged", said)


async def test_the_word_for_an_older_announcement_does_not_count(desk: Desk) -> None:
    desk.announcer.note_registered()
    await trio.sleep(2.0)
    assert len(desk.heard) == 2
    desk.announcer.note_acknowledged(1)
    await trio.sleep(0.5)
    assert desk.announcer.state == "announcing"


async def test_the_ladder_begins_anew_with_each_registration(desk: Desk) -> None:
    desk.announcer.note_registered()
    await trio.sleep(20.0)
    desk.announcer.note_link_lost()
    await trio.sleep(100.0)
    again = trio.current_time()
    desk.announcer.note_registered()
    await trio.sleep(8.0)
    assert desk.times_since(again) == LADDER[:4]


async def test_what_changed_is_announced_at_once_and_the_ladder_begins_anew(desk: Desk) -> None:
    desk.announcer.note_registered()
    await trio.sleep(1.5)
    desk.announcer.note_acknowledged(desk.heard[-1][1].seq)
    await trio.sleep(100.0)
    desk.body = Announcement("desk", desk.body.static_key, ("10.86.0.7",), (), NatReport())
    changed = trio.current_time()
    desk.announcer.note_facts()
    await trio.sleep(4.0)
    debounce = DEFAULT_TIMINGS.announce_debounce
    assert desk.times_since(changed) == [pytest.approx(debounce + at) for at in LADDER[:3]]
    assert desk.said(desk.heard[-1][1]) == desk.body


async def test_nothing_new_is_nothing_to_announce(desk: Desk) -> None:
    desk.announcer.note_registered()
    await trio.sleep(0.5)
    desk.announcer.note_acknowledged(1)
    await trio.sleep(0.5)
    desk.announcer.note_facts()
    await trio.sleep(10.0)
    assert len(desk.heard) == 1


async def test_an_announcement_counts_as_complete_once_it_holds_the_surveys_verdict(desk: Desk) -> None:
    """It goes out at once with what is known, so that no request waits for the survey; the verdict follows."""
    desk.has_verdict = False
    desk.announcer.note_registered()
    await trio.sleep(0.1)
    desk.announcer.note_acknowledged(1)
    assert not desk.announcer.is_verdict_acknowledged
    desk.has_verdict = True
    desk.announcer.note_facts()
    await trio.sleep(0.1)
    assert not desk.announcer.is_verdict_acknowledged
    desk.announcer.note_acknowledged(2)
    assert desk.announcer.is_verdict_acknowledged
