"""Samples of a port allocation: one mapping each, in order, and none where the time of allocation is not known."""

from __future__ import annotations

import random
from functools import partial

import pytest
import trio
import trio.testing

from tunnel.model.endpoint import Endpoint
from tunnel.nat.port_sampling import GAP, sample_ports
from tunnel.nat.stun_client import open_stun_client
from tunnel.server.stun_service import serve_stun
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.verify.memory.packet import MemoryPacket

SERVER = Endpoint("25.0.0.1", 3478)
HOME = "26.0.0.1"


async def test_samples_are_paced_and_in_order_and_a_lost_one_is_left_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """When the port of a lost one was allocated is not known; a punch may open 100 sockets a second, so may we."""
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        socket = await internet.add_host("server", SERVER.host).open_service_socket(SERVER)
        nursery.start_soon(partial(serve_stun, [socket], rate_per_source=200.0))
        home = internet.add_host("home", HOME)
        sent, route = 0, internet.transmit

        def lose_the_third(packet: MemoryPacket) -> None:
            nonlocal sent
            sent += packet.source.host == HOME
            if packet.source.host != HOME or sent != 3:
                route(packet)

        internet.transmit = lose_the_third  # type: ignore[method-assign]
        async with open_stun_client(home, MemoryEntropy(random.Random(5))) as stun_client:
            began = trio.current_time()
            found = await sample_ports(stun_client, SERVER, 6, 0.4)
        nursery.cancel_scope.cancel()
    times = [one.sample.at - began for one in found]
    assert times == pytest.approx([turn * GAP for turn in (0, 1, 3, 4, 5)])
    assert GAP >= 0.01
    assert [one.sample.local for one in found] == [one.sample.mapped.port for one in found]
