"""Hairpinning: what a test shows, and a test on a machine that reaches itself."""

from __future__ import annotations

import random

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Filtering, Hairpin
from tunnel.nat.hairpin import hairpin_of, try_hairpin
from tunnel.nat.stun_client import open_stun_client
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.memory.machine import MemoryEntropy

EVERYBODY, SOMEBODY = Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT


@pytest.mark.parametrize(
    ("is_heard", "is_steady", "filtering", "hairpin"),
    [
        (True, True, SOMEBODY, Hairpin.YES),
        (True, False, SOMEBODY, Hairpin.YES),
        (False, True, SOMEBODY, Hairpin.NO),
        (False, True, Filtering.UNKNOWN, Hairpin.NO),
        (False, False, EVERYBODY, Hairpin.NO),
        (False, False, SOMEBODY, Hairpin.UNKNOWN),
        (False, False, Filtering.UNKNOWN, Hairpin.UNKNOWN),
        (None, True, SOMEBODY, Hairpin.UNKNOWN),
    ],
)
def test_what_a_try_means(is_heard: bool | None, is_steady: bool, filtering: Filtering, hairpin: Hairpin) -> None:
    assert hairpin_of(is_heard, is_steady=is_steady, filtering=filtering) is hairpin


@pytest.mark.parametrize("is_right", [True, False])
async def test_a_shot_counts_at_the_socket_that_it_was_meant_for(
    autojump_clock: trio.testing.MockClock, is_right: bool
) -> None:
    """Two sockets of one host reach each other; a packet that comes back to its own sender is not hairpinned."""
    async with open_memory_internet() as internet:
        host = internet.add_host("home", "26.0.0.1")
        async with open_stun_client(host, MemoryEntropy(random.Random(1))) as stun_client:
            one, other = await stun_client.open_socket(), await stun_client.open_socket()
            mapped = [Endpoint("26.0.0.1", stun_socket.socket.local.port) for stun_socket in (one, other)]
            if not is_right:
                mapped.reverse()
            assert await try_hairpin(stun_client, (one, mapped[0]), (other, mapped[1])) is is_right
