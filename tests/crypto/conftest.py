"""Keys and chance that are the same in every run."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tunnel.crypto.node_keys import NodeKeys

Token = Callable[[int], bytes]


@pytest.fixture
def token() -> Token:
    """Seeded entropy, for tests that repeat."""
    return random.Random(1).randbytes


@pytest.fixture
def here() -> NodeKeys:
    """The initiator's static key."""
    return NodeKeys(bytes([0x11]) * 32)


@pytest.fixture
def there() -> NodeKeys:
    """The responder's static key."""
    return NodeKeys(bytes([0x22]) * 32)
