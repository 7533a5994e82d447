"""A name stays with the first node that bore it: on disk, within bounds, until it is set free."""

from __future__ import annotations

import logging

import pytest
import trio

from tunnel.model.errors import DeviceError
from tunnel.model.identity import NetworkId, NodeId
from tunnel.network.memory_machine import MemoryStore
from tunnel.node.name_pins import MAX_PINS, MAX_PINS_PER_NODE, WRITE_GAP, NamePins

NETWORK, OTHER = (NetworkId(bytes([number]) * 16) for number in (1, 2))
ONE, TWO = (NodeId(bytes([number]) * 16) for number in (1, 2))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def pins(store: MemoryStore) -> NamePins:
    return NamePins(store, NETWORK)


def test_a_name_is_the_first_node_s_until_it_is_forgotten(pins: NamePins) -> None:
    assert pins.pin("laptop", ONE)
    assert not pins.pin("laptop", TWO)
    assert pins.holder_of("LapTop") == ONE
    assert pins.forget(ONE) == ("laptop",)
    assert pins.pin("laptop", TWO)


def test_names_are_kept_for_the_next_process_of_the_same_network(pins: NamePins, store: MemoryStore) -> None:
    pins.pin("Anna's laptop", ONE)
    pins.save()
    assert NamePins(store, NETWORK).holder_of("anna's laptop") == ONE
    assert NamePins(store, NETWORK).names_of(ONE) == ("Anna's laptop",)
    assert NamePins(store, OTHER).holder_of("anna's laptop") is None


def test_a_node_that_renames_itself_gives_up_its_own_oldest_name_alone(pins: NamePins) -> None:
    """Else one member would fill the file."""
    pins.pin("phone", TWO)
    for number in range(100):
        assert pins.pin(f"name {number}", ONE)
    assert len(pins) == MAX_PINS_PER_NODE + 1
    assert pins.names_of(ONE)[-1] == "name 99"
    assert pins.holder_of("phone") == TWO


def test_no_number_of_nodes_pushes_a_name_out(pins: NamePins) -> None:
    pins.pin("laptop", ONE)
    for number in range(MAX_PINS + 10):
        pins.pin(f"name {number}", NodeId(number.to_bytes(16, "big")))
    assert len(pins) == MAX_PINS
    assert pins.holder_of("laptop") == ONE
    assert not pins.pin("one more", TWO)


def test_damaged_lines_are_ignored_and_told(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    store.files[f"names.{NETWORK}"] = f"{ONE} laptop\nnonsense\n{TWO} LAPTOP\n\xff".encode("latin-1")
    pins = NamePins(store, NETWORK)
    assert pins.holder_of("laptop") == ONE
    assert len(pins) == 1
    assert "lines=3" in caplog.text


async def test_changes_are_written_soon_but_not_each_by_itself(
    pins: NamePins, store: MemoryStore, autojump_clock: trio.testing.MockClock
) -> None:
    """Members choose how often they rename themselves, and each write waits for the disk."""
    writes: list[float] = []
    write = store.write

    def count(name: str, content: bytes) -> None:
        writes.append(trio.current_time())
        write(name, content)

    store.write = count  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pins.run)
        for number in range(10):
            pins.pin(f"name {number}", ONE)
            await trio.sleep(WRITE_GAP / 5)
        nursery.cancel_scope.cancel()
    assert len(writes) <= 4
    assert NamePins(store, NETWORK).names_of(ONE) == pins.names_of(ONE)


def test_a_store_that_cannot_be_written_costs_a_warning(
    pins: NamePins, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(name: str, content: bytes) -> None:
        del name, content
        raise DeviceError("the disk is full")

    store.write = refuse  # type: ignore[method-assign]
    pins.pin("laptop", ONE)
    with caplog.at_level(logging.WARNING):
        pins.save()
    assert "names are not kept" in caplog.text
    assert pins.holder_of("laptop") == ONE
