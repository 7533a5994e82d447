"""Fragments are joined in whatever order they come, and whoever sends them, what is held has a bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.dataplane.fragmentation import MAX_SEALED
from tunnel.dataplane.reassembly import MAX_BYTES, MAX_RECORDS, PATIENCE, Reassembly, ReassemblyBudget
from tunnel.model.errors import MalformedFrame, NotAuthentic

SEALED = bytes(range(256)) * 20
KEY = (7, 1)
TOTAL = 1 << 20


class Flow:
    """One flow's reassembly and what it told."""

    def __init__(self, budget: ReassemblyBudget | None = None) -> None:
        self.budget = ReassemblyBudget(TOTAL) if budget is None else budget
        self.broken: list[tuple[int, int]] = []
        self.reassembly = Reassembly(self.budget, lambda fragments, came: self.broken.append((fragments, came)))

    def add(self, fragment: int, fragments: int, piece: bytes, counter: int = 1, now: float = 0.0) -> bytes | None:
        return self.reassembly.add((7, counter), fragment, fragments, piece, now)

    def begin(self, counter: int, now: float = 0.0, size: int = 100) -> None:
        """A record of which only the first of two fragments comes."""
        assert self.add(0, 2, bytes(size), counter, now) is None

    def is_held(self, counter: int, now: float = 0.0) -> bool:
        """Whether the second fragment completes it."""
        return self.add(1, 2, b"end", counter, now) is not None


@pytest.fixture
def flow() -> Flow:
    return Flow()


def cut(sealed: bytes, size: int) -> list[bytes]:
    return [sealed[at : at + size] for at in range(0, len(sealed), size)]


@given(data=st.data(), length=st.integers(2, 3000), count=st.integers(2, 64))
def test_in_any_order_with_duplicates_the_last_missing_one_completes_the_record(
    data: st.DataObject, length: int, count: int
) -> None:
    pieces = cut(SEALED[:length], -(-length // count))
    if len(pieces) < 2:
        return
    flow, came = Flow(), set[int]()
    numbers = data.draw(st.permutations([*range(len(pieces)), *data.draw(st.lists(st.integers(0, len(pieces) - 1)))]))
    joined = []
    for number in numbers:
        if len(came) == len(pieces):
            break
        if number in came:
            with pytest.raises(NotAuthentic):
                flow.add(number, len(pieces), pieces[number])
        else:
            joined.append(flow.add(number, len(pieces), pieces[number]))
            came.add(number)
    assert joined == [None] * (len(pieces) - 1) + [SEALED[:length]]
    assert (len(flow.reassembly), flow.budget.free, flow.budget.dropped, flow.broken) == (0, TOTAL, 0, [])


def test_a_view_into_a_buffer_that_is_used_again_is_copied(flow: Flow) -> None:
    buffer = bytearray(b"first")
    assert flow.reassembly.add(KEY, 0, 2, memoryview(buffer), 0.0) is None
    buffer[:] = b"other"
    assert flow.reassembly.add(KEY, 1, 2, memoryview(buffer), 0.0) == b"firstother"


@pytest.mark.parametrize(
    ("fragment", "fragments", "size"),
    [
        (0, 0, 10),
        (0, 1, 10),
        (5, 1, 10),
        (2, 2, 10),
        (255, 64, 10),
        (0, 65, 10),
        (0, 255, 10),
        (0, 2, 0),
        (1, 2, 0),
        (0, 2, MAX_SEALED + 1),
        (1, 2, MAX_SEALED + 1),
        (0, 64, MAX_SEALED // 63 + 1),
    ],
)
def test_numbers_that_no_record_has_and_pieces_too_large_are_malformed(
    flow: Flow, fragment: int, fragments: int, size: int
) -> None:
    with pytest.raises(MalformedFrame):
        flow.add(fragment, fragments, bytes(size))
    assert (len(flow.reassembly), flow.budget.free) == (0, TOTAL)


@pytest.mark.parametrize(
    ("fragment", "fragments", "size"),
    [(1, 3, 10), (1, 5, 10), (1, 4, 9), (1, 4, 11), (3, 4, 11), (4, 4, 10), (1, 4, 0)],
)
def test_what_contradicts_the_first_fragment_is_malformed_and_changes_nothing(
    flow: Flow, fragment: int, fragments: int, size: int
) -> None:
    flow.add(0, 4, bytes(10))
    with pytest.raises(MalformedFrame):
        flow.add(fragment, fragments, bytes(size))
    pieces = cut(bytes(35), 10)
    assert [flow.add(number, 4, pieces[number]) for number in (1, 2, 3)] == [None, None, bytes(35)]


@pytest.mark.parametrize(("fragment", "size"), [(0, 9), (2, 9), (0, MAX_SEALED // 3 + 1)])
def test_what_contradicts_a_last_fragment_that_came_first_is_malformed(flow: Flow, fragment: int, size: int) -> None:
    flow.add(3, 4, bytes(10))
    with pytest.raises(MalformedFrame):
        flow.add(fragment, 4, bytes(size))
    assert [flow.add(number, 4, bytes(10)) for number in (0, 1, 2)] == [None, None, bytes(40)]


def test_of_two_fragments_with_one_number_the_first_counts(flow: Flow) -> None:
    """Nothing tells which of them is forged. So a forged one breaks its record, whose seal then does not hold."""
    flow.add(0, 2, b"forged")
    with pytest.raises(NotAuthentic):
        flow.add(0, 2, b"honest")
    assert flow.add(1, 2, b"end") == b"forgedend"


def test_a_forged_fragment_is_in_no_other_record(flow: Flow) -> None:
    flow.add(0, 2, b"forged", counter=2)
    flow.add(0, 2, b"honest", counter=1)
    assert flow.add(1, 2, b"end", counter=1) == b"honestend"


def test_what_is_not_complete_in_time_is_given_up_and_told(flow: Flow) -> None:
    flow.add(0, 3, bytes(10), counter=1)
    flow.add(1, 3, bytes(10), counter=1, now=PATIENCE * 0.9)
    flow.begin(counter=2, now=PATIENCE * 0.9)
    flow.begin(counter=3, now=PATIENCE)
    assert (flow.broken, flow.budget.dropped) == ([(3, 2)], 2)
    assert flow.is_held(2, now=PATIENCE)


def test_a_late_fragment_of_what_was_given_up_begins_anew_and_is_given_up_too(flow: Flow) -> None:
    flow.begin(counter=1)
    assert not flow.is_held(1, now=PATIENCE)
    flow.begin(counter=2, now=2 * PATIENCE)
    assert flow.broken == [(2, 1), (2, 1)]


def test_the_oldest_record_gives_way_to_the_ninth(flow: Flow) -> None:
    for counter in range(MAX_RECORDS + 1):
        flow.begin(counter)
    assert len(flow.reassembly) == MAX_RECORDS
    assert flow.broken == [(2, 1)]
    assert all(flow.is_held(counter) for counter in range(1, MAX_RECORDS + 1))


def test_the_oldest_record_gives_way_when_a_flow_holds_too_many_bytes() -> None:
    """Eight of the largest records in the smallest pieces are just too many."""
    flow = Flow(ReassemblyBudget(16 * TOTAL))
    pieces = cut(bytes(MAX_SEALED), -(-MAX_SEALED // 64))
    for counter in range(MAX_RECORDS):
        for number, piece in enumerate(pieces[1:], 1):
            flow.add(number, len(pieces), piece, counter)
    assert flow.broken == [(64, 63)]
    assert MAX_BYTES - 64 * 1100 < 16 * TOTAL - flow.budget.free <= MAX_BYTES
    joined = [flow.add(0, len(pieces), pieces[0], counter) for counter in range(1, MAX_RECORDS)]
    assert joined == [bytes(MAX_SEALED)] * (MAX_RECORDS - 1)


def test_a_flow_that_joined_many_records_has_all_its_room_again() -> None:
    flow = Flow()
    for counter in range(2 * MAX_BYTES // 40_000):
        assert flow.add(0, 2, bytes(40_000), counter) is None
        assert flow.add(1, 2, b"end", counter) == bytes(40_000) + b"end"
    flow.begin(1)
    assert (flow.broken, flow.budget.dropped) == ([], 0)


def test_all_flows_together_hold_no_more_than_the_node_s_budget() -> None:
    budget = ReassemblyBudget(1000)
    first, second = Flow(budget), Flow(budget)
    first.begin(1, size=300)
    first.begin(2, size=300)
    assert not second.add(0, 2, bytes(300))
    assert (len(second.reassembly), budget.dropped, second.broken) == (0, 1, []), "there was no room for it"
    first.begin(3, size=300)
    assert (len(first.reassembly), first.broken) == (2, [(2, 1)]), "a flow makes room of its own"
    assert budget.free == 1000 - 2 * (300 + 128)


def test_a_flow_that_falls_silent_holds_nothing_for_long() -> None:
    """Else members that begin records and go would take the room from all others for ever."""
    budget = ReassemblyBudget(1000)
    silent, other = Flow(budget), Flow(budget)
    silent.begin(1, size=300)
    silent.begin(2, size=300)
    other.begin(1, now=PATIENCE, size=300)
    assert (len(silent.reassembly), silent.broken) == (0, [(2, 1), (2, 1)])
    assert other.is_held(1, now=PATIENCE)
    assert budget.free == 1000


def test_what_came_whole_in_another_way_leaves_nothing_behind_and_was_not_broken(flow: Flow) -> None:
    flow.begin(1)
    flow.begin(2)
    flow.reassembly.forget((7, 1))
    flow.reassembly.forget((7, 99))
    assert (flow.broken, flow.budget.dropped, len(flow.reassembly)) == ([], 1, 1)
    assert flow.is_held(2)
    assert flow.budget.free == TOTAL


HOSTILE = st.tuples(
    st.integers(0, 2),  # flow
    st.integers(0, 20),  # counter
    st.integers(0, 70),  # fragment
    st.integers(0, 70) | st.just(255),  # fragments
    st.sampled_from((0, 1, 16, 1184, 1185, 9000, 40_000, 65_000)),
    st.sampled_from((0.0, 0.0, 0.01, PATIENCE / 2, PATIENCE)),
)


@given(st.lists(HOSTILE, max_size=120))
def test_whatever_comes_memory_is_bounded_and_each_fragment_is_joined_held_or_counted(
    sent: list[tuple[int, int, int, int, int, float]],
) -> None:
    budget = ReassemblyBudget(TOTAL)
    flows = [Flow(budget) for _ in range(3)]
    now, refused, joined = 0.0, 0, 0
    for number, counter, fragment, fragments, size, pause in sent:
        now += pause
        try:
            sealed = flows[number].add(fragment, fragments, bytes(size), counter, now)
        except (MalformedFrame, NotAuthentic):
            refused += 1
            continue
        if sealed is not None:
            assert len(sealed) <= MAX_SEALED
            joined += fragments
        held = [held_by(flow) for flow in flows]
        assert budget.free == TOTAL - sum(size for _, size, _ in held) >= 0
        assert all(records <= MAX_RECORDS and size <= MAX_BYTES for records, size, _ in held)
    held_now = sum(pieces for _, _, pieces in map(held_by, flows))
    assert refused + joined + budget.dropped + held_now == len(sent)
    budget.drop_stale(now + 2 * PATIENCE)
    assert budget.free == TOTAL
    assert refused + joined + budget.dropped == len(sent)


def held_by(flow: Flow) -> tuple[int, int, int]:
    """Records, bytes and fragments."""
    records = flow.reassembly._records.values()
    pieces = [piece for record in records for piece in record.pieces.values()]
    return len(records), sum(map(len, pieces)) + 128 * len(pieces), len(pieces)
