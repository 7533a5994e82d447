"""What waits for a slow link is short, and a stream that sends little passes those that send much."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tunnel.dataplane import flow_queue
from tunnel.dataplane.flow_queue import INTERVAL, MAX_HELD, OVERHEAD, QUANTUM, QUEUES, SHED, TARGET, FlowQueue


@pytest.fixture(autouse=True)
def no_shared_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_queue, "QUEUES", 2**60)


def take_all(queue: FlowQueue[str], now: float = 0.0) -> list[str]:
    taken = []
    while (item := queue.take(now)) is not None:
        taken.append(item)
    return taken


def test_a_stream_keeps_its_order() -> None:
    """TCP takes packets out of order for lost ones."""
    queue: FlowQueue[str] = FlowQueue()
    for name in "abc":
        queue.put("download", name, 60000, 0.0)
    assert take_all(queue) == ["a", "b", "c"]
    assert not queue


def test_a_ping_passes_a_download() -> None:
    """It would wait for all that the download has sent before it."""
    queue: FlowQueue[str] = FlowQueue()
    for _ in range(9):
        queue.put("download", "bulk", 60000, 0.0)
    assert queue.take(0.0) == "bulk"
    queue.put("ping", "ping", 84, 0.0)
    assert queue.take(0.0) == "ping"


def test_streams_share_by_bytes() -> None:
    """Not by packets: one with superpackets would get forty times as much."""
    queue: FlowQueue[str] = FlowQueue()
    for _ in range(50):
        queue.put("large", "large", 30 * QUANTUM, 0.0)
        for _ in range(10):
            queue.put("small", "small", QUANTUM, 0.0)
    sent = {"large": 0, "small": 0}
    for _ in range(260):
        item = queue.take(0.0)
        assert item is not None
        sent[item] += 30 * QUANTUM + OVERHEAD if item == "large" else QUANTUM + OVERHEAD
    assert abs(sent["large"] - sent["small"]) <= 32 * QUANTUM


def test_a_stream_that_always_waits_loses_packets_from_the_head() -> None:
    """So its sender learns of it soonest (RFC 8289)."""
    queue: FlowQueue[str] = FlowQueue()
    numbers = []
    for number in range(200):
        now = number * 0.002
        queue.put("download", f"{number}", 1400, now)
        if number >= 10:
            item = queue.take(now)
            assert item is not None
            numbers.append(int(item))
    assert queue.dropped > 0
    assert numbers == sorted(numbers)
    before = next(number for number, after in pairwise(numbers) if after != number + 1)
    assert before * 0.002 + TARGET >= INTERVAL


def test_what_waits_for_less_than_the_target_is_never_dropped() -> None:
    """A link that is as fast as its sender needs no loss."""
    queue: FlowQueue[str] = FlowQueue()
    for number in range(500):
        now = number * 0.002
        queue.put("download", f"{number}", 1400, now)
        if number >= 2:
            assert queue.take(now) == f"{number - 2}"
    assert queue.dropped == 0


def test_the_last_packet_of_a_stream_is_never_dropped_for_its_age() -> None:
    """A lone packet is no queue, and without any nobody tells the sender of the loss."""
    queue: FlowQueue[str] = FlowQueue()
    queue.put("a", "first", 1400, 0.0)
    queue.put("a", "second", 1400, 0.0)
    assert take_all(queue, 10.0) == ["first", "second"]


def test_memory_is_bounded_at_the_expense_of_the_longest_stream() -> None:
    """A flood of one stream costs no other a packet."""
    queue: FlowQueue[str] = FlowQueue()
    queue.put("ping", "ping", 84, 0.0)
    for _ in range(2 * MAX_HELD // 60000):
        queue.put("flood", "flood", 60000, 0.0)
    assert queue.dropped > 0
    taken = take_all(queue)
    assert taken[0] == "ping"
    assert (len(taken) - 1) * (60000 + OVERHEAD) <= MAX_HELD


def test_what_is_cleared_is_gone() -> None:
    """Its interface was removed."""
    queue: FlowQueue[str] = FlowQueue()
    queue.put("a", "first", 1400, 0.0)
    queue.clear()
    assert queue.dropped == 1
    assert not queue
    assert queue.take(0.0) is None


def test_streams_without_end_share_a_bounded_number_of_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any program here can send with each of its ports, and a queue takes more memory than a packet."""
    monkeypatch.setattr(flow_queue, "QUEUES", QUEUES)
    queue: FlowQueue[str] = FlowQueue()
    for number in range(20_000):
        queue.put(number, "small", 60, 0.0)
    assert len(queue._streams) <= QUEUES
    assert len(take_all(queue)) + queue.dropped == 20_000
    assert queue._streams == {}
    assert not any(queue._by_length)


def test_nobody_can_choose_a_stream_that_shares_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes do not agree on which share one."""
    monkeypatch.setattr(flow_queue, "QUEUES", QUEUES)
    numbers = []
    for salt in (b"one", b"other"):
        monkeypatch.setattr(flow_queue, "_SALT", salt)
        queue: FlowQueue[str] = FlowQueue()
        for stream in range(100):
            queue.put(stream, "small", 60, 0.0)
        numbers.append(list(queue._streams))
    assert numbers[0] != numbers[1]


def test_what_finds_no_room_costs_little_whatever_waits() -> None:
    """All streams are not looked at for each packet: one of the longest loses many packets at once."""
    queue: FlowQueue[int] = FlowQueue()
    for number in range(2 * MAX_HELD // (60 + OVERHEAD)):
        before = queue.dropped
        queue.put(number % 1000, number, 60, 0.0)
        assert queue.dropped - before <= SHED
    assert queue._held == sum(stream.held for stream in queue._streams.values()) <= MAX_HELD
    queue.put("superpacket", 0, 60_000, 0.0)
    assert queue._held <= MAX_HELD
    queue.clear()
    before = queue.dropped
    while queue.dropped == before:
        queue.put("flood", 0, 60, 0.0)
    assert queue.dropped - before == SHED
