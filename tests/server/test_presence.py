"""Who is online, who hears of it, and what a slow listener misses: nothing but what is out of date."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tunnel.model.errors import Refused
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.rates import TokenBucket
from tunnel.server.peer_updates import PeerSignal
from tunnel.server.presence import RTT_SAMPLES, Member, Presence
from tunnel.wire.signals import Announce, PeerDown, PeerUp, Signal

HOME = NetworkId(b"h" * 16)
WORK = NetworkId(b"w" * 16)
EPOCH = b"e" * 16


@dataclass
class Box:
    """A mailbox and a link's end, written down."""

    signals: list[Signal] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def send_signal(self, signal: Signal) -> None:
        self.signals.append(signal)

    def queue_relay(self, handle: bytes, datagram: bytes) -> bool:
        return False

    def flush_relay(self) -> None:
        pass


def member(name: str, network: NetworkId = HOME) -> tuple[Member, Box]:
    box = Box()
    node = NodeId(name.encode().ljust(16, b"."))
    return Member(network, node, box, lambda code, text: box.ended.append(code), TokenBucket(1e6, 1e6, 0.0)), box


def announce(seq: int, body: bytes = b"body", epoch: bytes = EPOCH) -> Announce:
    return Announce(epoch, seq, body)


def announce_to_all(presence: Presence, member: Member, announce: Announce) -> bool:
    """As a connection does that has not announced lately."""
    return presence.announce(member, announce) and presence.pass_on(member) >= 0


def news_of(member: Member) -> list[PeerSignal]:
    words = []
    while (word := member.updates.take_nowait()) is not None:
        words.append(word)
    return words


def test_members_of_a_network_hear_each_other_announce() -> None:
    presence = Presence(10)
    (desk, _), (laptop, _), (stranger, _) = member("desk"), member("laptop"), member("stranger", WORK)
    for one in (desk, laptop, stranger):
        presence.join(one)
    assert announce_to_all(presence, desk, announce(1))
    assert news_of(laptop) == [PeerUp(desk.node.raw, EPOCH, 1, b"body")]
    assert news_of(desk) == []
    assert news_of(stranger) == []


def test_a_newcomer_hears_of_those_who_have_announced_only() -> None:
    presence = Presence(10)
    (desk, _), (silent, _), (late, _) = member("desk"), member("silent"), member("late")
    presence.join(desk)
    presence.join(silent)
    announce_to_all(presence, desk, announce(4, b"fourth"))
    presence.join(late)
    assert news_of(late) == [PeerUp(desk.node.raw, EPOCH, 4, b"fourth")]


def test_an_announcement_that_is_not_newer_is_not_passed_on() -> None:
    presence = Presence(10)
    (desk, _), (laptop, _) = member("desk"), member("laptop")
    presence.join(desk)
    presence.join(laptop)
    assert announce_to_all(presence, desk, announce(5, b"five"))
    assert not announce_to_all(presence, desk, announce(5, b"again"))
    assert not announce_to_all(presence, desk, announce(4, b"old"))
    assert desk.announcement == announce(5, b"five")
    assert news_of(laptop) == [PeerUp(desk.node.raw, EPOCH, 5, b"five")]


def test_another_epoch_begins_its_numbers_anew() -> None:
    presence = Presence(10)
    (desk, _), (laptop, _) = member("desk"), member("laptop")
    presence.join(desk)
    presence.join(laptop)
    announce_to_all(presence, desk, announce(5))
    assert announce_to_all(presence, desk, announce(1, b"new", b"f" * 16))
    assert news_of(laptop) == [PeerUp(desk.node.raw, b"f" * 16, 1, b"new")]


@pytest.mark.parametrize(("withdraws", "why"), [(False, "lost"), (True, "left")])
def test_the_others_hear_how_a_member_went(withdraws: bool, why: str) -> None:
    presence = Presence(10)
    (desk, _), (laptop, _) = member("desk"), member("laptop")
    presence.join(desk)
    presence.join(laptop)
    announce_to_all(presence, desk, announce(1))
    news_of(laptop)
    if withdraws:
        presence.withdraw(desk)
        assert news_of(laptop) == [PeerDown(desk.node.raw, why)]
    presence.leave(desk)
    assert news_of(laptop) == ([] if withdraws else [PeerDown(desk.node.raw, why)])
    assert presence.find(HOME, desk.node) is None


def test_nobody_hears_the_end_of_a_member_that_never_announced() -> None:
    presence = Presence(10)
    (desk, _), (laptop, _) = member("desk"), member("laptop")
    presence.join(desk)
    presence.join(laptop)
    presence.leave(desk)
    assert news_of(laptop) == []


def test_a_new_link_replaces_the_old_one_and_the_peers_notice_nothing() -> None:
    presence = Presence(10)
    (old, old_box), (new, _), (laptop, _) = member("desk"), member("desk"), member("laptop")
    presence.join(old)
    presence.join(laptop)
    announce_to_all(presence, old, announce(1))
    news_of(laptop)
    presence.join(new)
    assert old_box.ended == ["replaced"]
    presence.leave(old)
    assert presence.find(HOME, new.node) is new
    assert presence.handles_of(HOME)[new.node.handle] is new
    assert news_of(laptop) == []
    assert not announce_to_all(presence, old, announce(2)), "an old link speaks for nobody"
    presence.leave(new)
    assert news_of(laptop) == [PeerDown(new.node.raw, "lost")], "though the new link never announced"


def test_a_full_network_refuses_newcomers_but_not_a_new_link_of_a_member() -> None:
    presence = Presence(2)
    (desk, _), (laptop, _), (late, _), (again, _) = member("desk"), member("laptop"), member("late"), member("desk")
    presence.join(desk)
    presence.join(laptop)
    with pytest.raises(Refused, match="network_full"):
        presence.join(late)
    presence.join(again)
    presence.leave(laptop)
    presence.join(late)


def test_two_ids_with_the_same_first_half_do_not_share_a_network() -> None:
    presence = Presence(10)
    (one, _), (twin, _), (elsewhere, _) = member("12345678a"), member("12345678b"), member("12345678b", WORK)
    presence.join(one)
    presence.join(elsewhere)
    with pytest.raises(Refused, match="handle_taken"):
        presence.join(twin)
    assert presence.handles_of(HOME) == {b"12345678": one}


def test_nothing_is_kept_of_an_empty_network() -> None:
    presence = Presence(10)
    desk, _ = member("desk")
    presence.join(desk)
    presence.leave(desk)
    presence.leave(desk)
    assert list(presence.members()) == []
    assert presence.members_of(HOME) == ()
    assert presence.handles_of(HOME) == {}


def test_the_round_trip_is_the_least_of_the_latest_samples() -> None:
    desk, _ = member("desk")
    assert desk.rtt is None
    for seconds in (0.3, 0.1, 0.2):
        desk.add_rtt(seconds)
    assert desk.rtt == 0.1
    for _ in range(RTT_SAMPLES):
        desk.add_rtt(0.4)
    assert desk.rtt == 0.4


def test_an_old_link_withdraws_nobody() -> None:
    presence = Presence(10)
    (old, _), (new, _), (laptop, _) = member("desk"), member("desk"), member("laptop")
    presence.join(old)
    presence.join(laptop)
    presence.join(new)
    announce_to_all(presence, new, announce(1))
    news_of(laptop)
    presence.withdraw(old)
    assert news_of(laptop) == []
    assert new.announcement == announce(1)
