"""IPv6 connectivity: no address, no server to ask, no answer, and what a firewall lets in."""

from __future__ import annotations

import random
from functools import partial

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Filtering
from tunnel.nat.ipv6 import Ipv6Report, check_ipv6
from tunnel.server.stun_service import serve_stun
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.memory.machine import MemoryEntropy

HOME = "2001:db8:7::1"
OWN = tuple(Endpoint(host, port) for host in ("2001:db8::1", "2001:db8::2") for port in (3478, 3479))
FOUR = Endpoint("25.0.0.1", 3478)


async def seen(*servers: Endpoint, addresses: tuple[str, ...] = (HOME,), own: tuple[Endpoint, ...] = ()) -> Ipv6Report:
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        server = internet.add_host("server", "2001:db8::1", "2001:db8::2")
        sockets = [await server.open_service_socket(one) for one in OWN]
        nursery.start_soon(partial(serve_stun, sockets, rate_per_source=200.0))
        host = internet.add_host("home", HOME)
        found = await check_ipv6(host, MemoryEntropy(random.Random(1)), addresses, servers, own)
        nursery.cancel_scope.cancel()
    return found


@pytest.mark.parametrize("addresses", [(), ("192.168.1.2",), ("fe80::1", "fd00::7", "::1")])
async def test_an_address_that_is_not_global_is_none(addresses: tuple[str, ...]) -> None:
    assert await seen(*OWN, addresses=addresses) == Ipv6Report()


async def test_without_anybody_to_ask_nothing_is_claimed() -> None:
    assert await seen(FOUR) == Ipv6Report(has_address=True)


async def test_silence_is_told(autojump_clock: trio.testing.MockClock) -> None:
    assert await seen(Endpoint("2001:db8::9", 3478)) == Ipv6Report(has_address=True, is_reached=False)


async def test_our_own_server_is_asked_first_and_tells_of_the_firewall(autojump_clock: trio.testing.MockClock) -> None:
    """There is none here."""
    open_to_all = Ipv6Report(has_address=True, is_reached=True, filtering=Filtering.ENDPOINT_INDEPENDENT)
    assert await seen(Endpoint("2001:db8::9", 3478), own=OWN) == open_to_all
    assert await seen(Endpoint("2001:db8::9", 3478), OWN[0]) == open_to_all
