"""A limit on UDP is told from a lossy line, from a dead one, and from none."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.rates import TokenBucket
from tunnel.nat.stun_client import open_stun_client
from tunnel.nat.udp_rate_limit import BURST, ROUNDS, SINGLES, is_rate_limited
from tunnel.server.stun_service import serve_stun
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.verify.memory.packet import MemoryPacket

SERVER = Endpoint("25.0.0.1", 3478)
HOME = "26.0.0.1"


async def told(lets: Callable[[], bool]) -> tuple[bool, int]:
    """Whether a line that passes what this says is judged rate-limited, and how many packets that took."""
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        server = internet.add_host("server", SERVER.host)
        nursery.start_soon(partial(serve_stun, [await server.open_service_socket(SERVER)], rate_per_source=200.0))
        host = internet.add_host("home", HOME)
        sent, route = 0, internet.transmit

        def transmit(packet: MemoryPacket) -> None:
            nonlocal sent
            if packet.source.host == HOME:
                sent += 1
                if not lets():
                    return
            route(packet)

        internet.transmit = transmit  # type: ignore[method-assign]
        async with open_stun_client(host, MemoryEntropy(random.Random(1))) as stun_client:
            found = await is_rate_limited(stun_client, SERVER)
        nursery.cancel_scope.cancel()
    return found, sent


@pytest.mark.parametrize("rate", [4.0, 6.0, 10.0])
async def test_a_few_datagrams_a_second_are_a_limit(autojump_clock: trio.testing.MockClock, rate: float) -> None:
    bucket = TokenBucket(rate, 3.0, trio.current_time())
    assert await told(lambda: bucket.take(trio.current_time())) == (True, ROUNDS * (BURST + SINGLES))


async def test_an_open_line_is_none(autojump_clock: trio.testing.MockClock) -> None:
    assert await told(lambda: True) == (False, BURST + SINGLES)


async def test_a_dead_line_is_none(autojump_clock: trio.testing.MockClock) -> None:
    assert (await told(lambda: False))[0] is False


@pytest.mark.parametrize("loss", [0.1, 0.3, 0.5, 0.7])
async def test_a_line_that_loses_at_random_is_none(autojump_clock: trio.testing.MockClock, loss: float) -> None:
    chance = random.Random(2)
    assert not any([(await told(lambda: chance.random() >= loss))[0] for _ in range(30)])
