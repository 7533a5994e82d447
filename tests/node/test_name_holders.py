"""A name stays with the first node that bore it: on disk, within bounds, until it is set free."""

from __future__ import annotations

import logging

import pytest
import trio

from tunnel.model.errors import DeviceError
from tunnel.model.identity import NetworkId, NodeId
from tunnel.network.memory_store import MemoryStore
from tunnel.node.name_holders import MAX_NAMES, MAX_NAMES_PER_NODE, MAX_UNSPOKEN, WRITE_GAP, NameHolders, Taken

NETWORK, OTHER = (NetworkId(bytes([number]) * 16) for number in (1, 2))
ONE, TWO = (NodeId(bytes([number]) * 16) for number in (1, 2))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def holders(store: MemoryStore) -> NameHolders:
    return NameHolders(store, NETWORK)


def test_a_name_is_the_first_node_s_until_it_is_set_free(holders: NameHolders) -> None:
    assert holders.take("laptop", ONE)
    assert not holders.take("laptop", TWO)
    assert holders.holder_of("LapTop") == ONE
    assert holders.free(ONE) == ("laptop",)
    assert holders.take("laptop", TWO)


def test_names_are_kept_for_the_next_process_of_the_same_network(holders: NameHolders, store: MemoryStore) -> None:
    holders.take("Anna's laptop", ONE)
    holders.save()
    assert NameHolders(store, NETWORK).holder_of("anna's laptop") == ONE
    assert NameHolders(store, NETWORK).names_of(ONE) == ("Anna's laptop",)
    assert NameHolders(store, OTHER).holder_of("anna's laptop") is None


def test_a_node_that_renames_itself_gives_up_its_own_oldest_name_alone(holders: NameHolders) -> None:
    """Else one member would fill the file."""
    holders.take("phone", TWO)
    for number in range(100):
        assert holders.take(f"name {number}", ONE)
    assert len(holders) == MAX_NAMES_PER_NODE + 1
    assert holders.names_of(ONE)[-1] == "name 99"
    assert holders.holder_of("phone") == TWO


def crowd(number: int) -> NodeId:
    return NodeId(number.to_bytes(16, "big"))


def test_no_number_of_nodes_pushes_a_name_out_that_somebody_here_meant(holders: NameHolders) -> None:
    """Whoever could push it out could take it then."""
    holders.take("laptop", ONE)
    holders.note_spoken(ONE)
    holders.take("new laptop", ONE)
    for number in range(MAX_NAMES + 10):
        assert holders.take(f"name {number}", crowd(number))
    assert len(holders) == MAX_UNSPOKEN + 2
    assert holders.names_of(ONE) == ("laptop", "new laptop")


def test_a_crowd_that_came_and_went_leaves_room_for_others(store: MemoryStore) -> None:
    """One member with many keys would else keep everybody who comes later from a name, for ever."""
    holders = NameHolders(store, NETWORK)
    for number in range(MAX_UNSPOKEN):
        holders.take(f"name {number}", crowd(number))
    holders.save()
    assert holders.take("laptop", ONE) == Taken(True, lost=(crowd(0), "name 0"))
    assert NameHolders(store, NETWORK).take("laptop", ONE), "after a restart it is known too who was never spoken to"


def test_a_crowd_that_was_spoken_to_leaves_room_too(holders: NameHolders) -> None:
    for number in range(MAX_NAMES + 10):
        holders.take(f"name {number}", crowd(number))
        holders.note_spoken(crowd(number))
    assert len(holders) == MAX_NAMES
    assert holders.take("laptop", ONE)
    assert holders.holder_of("name 0") == crowd(0)


def test_who_is_present_keeps_its_name(store: MemoryStore) -> None:
    def is_present(node: NodeId) -> bool:
        return node != crowd(7)

    holders = NameHolders(store, NETWORK)
    for number in range(MAX_UNSPOKEN):
        holders.take(f"name {number}", crowd(number), is_present=is_present)
    assert holders.take("laptop", ONE, is_present=is_present)
    assert holders.holder_of("name 7") is None
    assert not holders.take("phone", TWO, is_present=is_present)


def test_damaged_lines_are_ignored_and_told(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    store.files[f"names.{NETWORK}"] = f"{ONE} laptop\nnonsense\n{TWO} LAPTOP\n\xff".encode("latin-1")
    holders = NameHolders(store, NETWORK)
    assert holders.holder_of("laptop") == ONE
    assert len(holders) == 1
    assert "lines=3" in caplog.text


async def test_changes_are_written_soon_but_not_each_by_itself(
    holders: NameHolders, store: MemoryStore, autojump_clock: trio.testing.MockClock
) -> None:
    """Members choose how often they rename themselves, and each write waits for the disk."""
    writes: list[float] = []
    write = store.write

    def count(name: str, content: bytes) -> None:
        writes.append(trio.current_time())
        write(name, content)

    store.write = count  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(holders.run)
        for number in range(10):
            holders.take(f"name {number}", ONE)
            await trio.sleep(WRITE_GAP / 5)
        nursery.cancel_scope.cancel()
    assert len(writes) <= 4
    assert NameHolders(store, NETWORK).names_of(ONE) == holders.names_of(ONE)


def test_a_store_that_cannot_be_written_costs_a_warning(
    holders: NameHolders, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(name: str, content: bytes) -> None:
        del name, content
        raise DeviceError("the disk is full")

    store.write = refuse  # type: ignore[method-assign]
    holders.take("laptop", ONE)
    with caplog.at_level(logging.WARNING):
        holders.save()
    assert "names are not kept" in caplog.text
    assert holders.holder_of("laptop") == ONE
