"""The relay passes frames on within one network, by rate, and what it drops it counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.rates import TokenBucket
from tunnel.server.presence import Member, Presence
from tunnel.server.relay import BATCH_COST, FRAME_COST, MIN_BURST, NOBODY_COST, Relay
from tunnel.wire.signals import Signal

HOME = NetworkId(b"h" * 16)
WORK = NetworkId(b"w" * 16)


@dataclass
class Box:
    """A mailbox that takes so many frames."""

    room: int = 1000
    frames: list[tuple[bytes, bytes]] = field(default_factory=list)

    def send_signal(self, signal: Signal) -> None:
        raise AssertionError("the relay says nothing")

    def queue_relay(self, handle: bytes, datagram: bytes) -> bool:
        if len(self.frames) >= self.room:
            return False
        self.frames.append((handle, datagram))
        return True

    def flush_relay(self) -> None:
        pass


def join(presence: Presence, name: str, network: NetworkId = HOME, room: int = 1000) -> tuple[Member, Box]:
    box = Box(room)
    member = Member(
        network, NodeId(name.encode().ljust(16, b".")), box, lambda code, text: None, TokenBucket(1e6, 1e6, 0.0)
    )
    presence.join(member)
    return member, box


def test_a_frame_arrives_under_the_sender_s_handle() -> None:
    presence = Presence(10)
    relay = Relay(presence, 1e6)
    (desk, _), (laptop, box) = join(presence, "desk"), join(presence, "laptop")
    relay.forward(desk, [(laptop.node.handle, b"one"), (laptop.node.handle, b"two")], 0.0)
    assert box.frames == [(desk.node.handle, b"one"), (desk.node.handle, b"two")]
    assert (relay.statistics.frames, relay.statistics.bytes) == (2, 6)


def test_no_frame_leaves_its_network_or_comes_back_to_its_sender() -> None:
    presence = Presence(10)
    relay = Relay(presence, 1e6)
    (desk, own), (stranger, box) = join(presence, "desk"), join(presence, "stranger", WORK)
    relay.forward(
        desk,
        [(stranger.node.handle, b"x"), (desk.node.handle, b"x"), (b"nobody..", b"x")],
        0.0,
    )
    assert own.frames == box.frames == []
    assert relay.statistics.dropped_no_receiver == 3
    assert relay.statistics.frames == 0


def test_the_same_id_in_two_networks_is_two_receivers() -> None:
    presence = Presence(10)
    relay = Relay(presence, 1e6)
    (desk, _), (home, home_box), (_, work_box) = (
        join(presence, "desk"),
        join(presence, "laptop"),
        join(presence, "laptop", WORK),
    )
    relay.forward(desk, [(home.node.handle, b"x")], 0.0)
    assert len(home_box.frames) == 1
    assert work_box.frames == []


def test_who_sends_over_his_rate_loses_frames_and_nobody_else_does() -> None:
    presence = Presence(10)
    relay = Relay(presence, 1.0)
    (desk, _), (laptop, box), (phone, _) = join(presence, "desk"), join(presence, "laptop"), join(presence, "phone")
    desk.allowance, phone.allowance = relay.open_allowance(0.0), relay.open_allowance(0.0)
    frame = (laptop.node.handle, b"x" * (MIN_BURST // 2 - FRAME_COST))
    relay.forward(desk, [frame] * 5, 0.0)
    relay.forward(phone, [frame], 0.0)
    assert [handle for handle, _ in box.frames] == [desk.node.handle] * 2 + [phone.node.handle]
    assert relay.statistics.dropped_over_rate == 3


def test_tiny_frames_are_charged_for_their_heads() -> None:
    presence = Presence(10)
    relay = Relay(presence, 1.0)
    (desk, _), (laptop, box) = join(presence, "desk"), join(presence, "laptop")
    desk.allowance = TokenBucket(0.0, 10.0 * (FRAME_COST + 1), 0.0)
    relay.forward(desk, [(laptop.node.handle, b"x")] * 50, 0.0)
    assert len(box.frames) == 10


def test_frames_to_nobody_cost_more_than_others_and_end_with_the_rate() -> None:
    presence = Presence(10)
    relay = Relay(presence, 1.0)
    (desk, _), (laptop, box) = join(presence, "desk"), join(presence, "laptop")
    desk.allowance = TokenBucket(0.0, 10.0 * (FRAME_COST + NOBODY_COST + 1), 0.0)
    relay.forward(desk, [(b"nobody..", b"x")] * 50 + [(laptop.node.handle, b"x")], 0.0)
    assert (relay.statistics.dropped_no_receiver, relay.statistics.dropped_over_rate) == (10, 41)
    assert box.frames == []


def test_messages_are_charged_before_they_are_read() -> None:
    presence = Presence(10)
    relay = Relay(presence, 1.0)
    desk, _ = join(presence, "desk")
    desk.allowance = TokenBucket(0.0, 3.0 * BATCH_COST, 0.0)
    assert [relay.admit_batch(desk, 0.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert relay.statistics.dropped_batches == 2


def test_a_receiver_that_takes_nothing_loses_its_own_frames_only() -> None:
    presence = Presence(10)
    relay = Relay(presence, 1e6)
    (desk, _), (slow, _), (quick, box) = join(presence, "desk"), join(presence, "slow", room=0), join(presence, "quick")
    relay.forward(desk, [(slow.node.handle, b"x"), (quick.node.handle, b"y")] * 3, 0.0)
    assert box.frames == [(desk.node.handle, b"y")] * 3
    assert relay.statistics.dropped_slow_receiver == 3
