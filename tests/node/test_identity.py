"""A node's key is kept, its epoch is not, and neither is ever shown."""

from __future__ import annotations

import random

import pytest

from tunnel.model.errors import DeviceError
from tunnel.network.memory_store import MemoryStore
from tunnel.node.identity import KEY_FILE, load_identity
from tunnel.verify.memory.machine import MemoryEntropy


def test_a_key_outlives_the_process_and_an_epoch_does_not() -> None:
    store, entropy = MemoryStore(), MemoryEntropy(random.Random(1))
    first, second = load_identity(store, entropy), load_identity(store, entropy)
    assert first.keys.id == second.keys.id
    assert first.epoch != second.epoch


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_a_damaged_key_is_an_error_with_a_remedy_and_is_not_overwritten(content: bytes) -> None:
    store = MemoryStore()
    store.write(KEY_FILE, content)
    with pytest.raises(DeviceError, match="remove it"):
        load_identity(store, MemoryEntropy(random.Random(1)))
    assert store.read(KEY_FILE) == content


def test_no_key_is_shown() -> None:
    store = MemoryStore()
    store.write(KEY_FILE, b"k" * 32)
    identity = load_identity(store, MemoryEntropy(random.Random(1)))
    assert "kkkk" not in repr(identity) + repr(identity.keys)
