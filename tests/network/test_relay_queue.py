"""The relay queue drops what it must and nothing else, whatever the order of events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.settings import ServerSettings
from tunnel.network.relay_queue import ENTRY_COST, HELD_UP, LANES_WORTH, QUEUING, RESERVE, QueueBudget, RelayQueue
from tunnel.wire.relay_batch import MAX_ENTRIES

HANDLES = [bytes([letter]) * 8 for letter in b"abcd"]
PER_LANE = 4000
RECORD = 61_482
"""Bytes of the longest record."""


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from(HANDLES), st.integers(0, 2000)),
            st.tuples(st.just("take"), st.just(b""), st.integers(1, 5000)),
        ),
        max_size=60,
    )
)
def test_what_was_taken_in_comes_out_once_in_the_order_of_its_lane(events: list[tuple[str, bytes, int]]) -> None:
    queue = RelayQueue(per_lane=PER_LANE, max_wait=1000)
    accepted: list[tuple[bytes, bytes]] = []
    taken: list[tuple[bytes, bytes]] = []
    for number, (event, handle, size) in enumerate(events):
        if event == "take":
            taken += queue.take_batch(0, size)
        else:
            datagram = number.to_bytes(2, "big") + bytes(size)
            if queue.put(handle, datagram, 0):
                accepted.append((handle, datagram))
        assert queue.size <= LANES_WORTH * PER_LANE + len(HANDLES) * RESERVE
    while queue:
        taken += queue.take_batch(0, 100)
    assert queue.size == 0
    for handle in HANDLES:
        assert [pair for pair in taken if pair[0] == handle] == [pair for pair in accepted if pair[0] == handle]


@given(st.lists(st.integers(1, 1400), min_size=1, max_size=30), st.integers(1500, 10_000))
def test_a_batch_keeps_to_its_size(sizes: list[int], limit: int) -> None:
    queue = RelayQueue(per_lane=100_000, max_wait=1000)
    for size in sizes:
        queue.put(HANDLES[0], bytes(size), 0)
    while queue:
        batch = queue.take_batch(0, limit)
        assert 0 < sum(10 + len(datagram) for _, datagram in batch) <= limit


def test_a_datagram_bigger_than_a_batch_goes_alone() -> None:
    queue = RelayQueue(per_lane=100_000, max_wait=1000)
    queue.put(HANDLES[0], bytes(60_000), 0)
    queue.put(HANDLES[0], bytes(10), 0)
    assert [len(datagram) for _, datagram in queue.take_batch(0, 32_768)] == [60_000]
    assert [len(datagram) for _, datagram in queue.take_batch(0, 32_768)] == [10]


def test_a_batch_has_no_more_entries_than_the_other_side_reads() -> None:
    queue = RelayQueue(per_lane=1_000_000, max_wait=1000)
    for _ in range(MAX_ENTRIES + 1):
        queue.put(HANDLES[0], b"x", 0)
    assert [len(queue.take_batch(0, 65_536)) for _ in range(2)] == [MAX_ENTRIES, 1]


def test_an_old_entry_does_not_hold_up_a_fresh_one_of_another_lane() -> None:
    queue = RelayQueue(per_lane=100_000, max_wait=0.05)
    queue.put(HANDLES[0], b"old", 0.0)
    queue.put(HANDLES[1], b"fresh", HELD_UP)
    assert queue.take_batch(HELD_UP + 0.02, 1000) == [(HANDLES[1], b"fresh")]
    assert queue.dropped_old == 1
    assert not queue


def test_a_lane_that_queues_drops_what_waited_too_long() -> None:
    queue = RelayQueue(per_lane=100_000, max_wait=0.05)
    while queue.size <= 2 * QUEUING:
        queue.put(HANDLES[0], bytes(1000), 0.0)
    before = queue.size
    queue.put(HANDLES[0], b"fresh", 0.06)
    batch = queue.take_batch(0.06, 100_000)
    assert batch[-1] == (HANDLES[0], b"fresh")
    assert (queue.dropped_old + 1) * (1000 + ENTRY_COST) >= before - QUEUING > 0


def test_a_stall_of_a_busy_machine_loses_no_handshake() -> None:
    """Few datagrams that wait are no queue: dropping them slows nobody's sending down, it only costs them a retry."""
    queue = RelayQueue(per_lane=100_000, max_wait=0.05)
    handshake = [(HANDLES[0], bytes(1240)), (HANDLES[0], bytes(300))]
    for handle, datagram in handshake:
        queue.put(handle, datagram, 0.0)
    assert queue.take_batch(0.4, 32_768) == handshake
    assert queue.dropped_old == 0


def test_a_record_that_waits_alone_is_no_queue() -> None:
    """Whoever sends one at a time waits for its answer: to drop it would cost a second."""
    queue = RelayQueue(per_lane=200_000, max_wait=0.05)
    queue.put(HANDLES[0], bytes(RECORD), 0.0)
    assert queue.take_batch(0.4, 65_536) == [(HANDLES[0], bytes(RECORD))]
    queue.put(HANDLES[0], bytes(RECORD), 1.0)
    queue.put(HANDLES[0], bytes([1]) * RECORD, 1.0)
    assert queue.take_batch(1.4, 65_536) == [(HANDLES[0], bytes([1]) * RECORD)]
    assert queue.dropped_old == 1


def test_a_lane_holds_as_many_records_as_its_bytes_allow() -> None:
    queue = RelayQueue(per_lane=ServerSettings().relay_queue, max_wait=0.05)
    assert sum(queue.put(HANDLES[0], bytes(RECORD), 0.0) for _ in range(100)) == 17
    assert queue.size <= ServerSettings().relay_queue


def test_when_everything_is_old_nothing_is_left() -> None:
    queue = RelayQueue(per_lane=100_000, max_wait=0.05)
    for handle in HANDLES:
        queue.put(handle, b"old", 0.0)
    assert queue.take_batch(HELD_UP + 0.01, 1000) == []
    assert not queue
    assert queue.size == 0
    assert queue.dropped_old == 4


def test_tiny_datagrams_cost_what_they_take_in_memory() -> None:
    queue = RelayQueue(per_lane=PER_LANE, max_wait=1)
    assert sum(queue.put(HANDLES[0], b"x", 0) for _ in range(1000)) == PER_LANE // (ENTRY_COST + 1)


def test_a_newcomer_finds_room_for_a_full_datagram_among_a_thousand_greedy_ones() -> None:
    queue = RelayQueue(per_lane=256 * 1024, max_wait=1)
    greedy = [number.to_bytes(8, "big") for number in range(1000)]
    while sum(queue.put(handle, bytes(600), 0) for handle in greedy):
        pass
    assert queue.put(b"newcomer", bytes(1500), 0)
    assert not queue.put(b"newcomer", bytes(1500), 0)
    assert queue.size <= LANES_WORTH * 256 * 1024 + 1001 * RESERVE


def test_queues_that_are_never_taken_from_leave_room_in_the_budget_they_share() -> None:
    budget = QueueBudget(100_000)
    stalled = [RelayQueue(per_lane=50_000, max_wait=0.05, budget=budget) for _ in range(50)]
    for queue in stalled:
        while queue.put(HANDLES[0], bytes(1000), 0.0):
            pass
    assert budget.held == sum(queue.size for queue in stalled) <= 100_000 + 50 * RESERVE
    fresh = RelayQueue(per_lane=50_000, max_wait=0.05, budget=budget)
    assert fresh.put(HANDLES[0], bytes(600), 0.0)
    for queue in stalled:
        queue.forget_old(HELD_UP + 0.01)
        assert queue.take_batch(HELD_UP + 0.01, 1000) == []
        assert not queue
    assert budget.held == fresh.size
    fresh.clear()
    assert budget.held == fresh.size == 0
    assert not fresh
