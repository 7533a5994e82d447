"""Lifetimes of idle mappings, against NATs in memory that forget."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import partial

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.nat.lifetime import CONTROL, SETTLING, keepalive_for, measure_lifetime
from tunnel.network.datagrams import DatagramSocket, ServiceSocket
from tunnel.server.stun_service import serve_stun
from tunnel.verify.memory.internet import MemoryInternet, open_memory_internet
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.verify.memory.packet import MemoryPacket
from tunnel.wire.stun import binding_success, decode_stun, encode_stun

SERVER = Endpoint("25.0.0.1", 3478)
INSIDE, OUTSIDE = "192.168.1.2", "26.0.0.1"
RUNGS = DEFAULT_TIMINGS.lifetime_rungs


@dataclass
class _Live:
    inner: int
    outer: Endpoint
    made: float
    used: float
    is_old: bool = False
    """It was used again two seconds after it was made."""


class ForgetfulNat:
    """Endpoint-independent, lets everybody in, keeps ports or not; a mapping dies when idle for `lifetime`."""

    def __init__(self, internet: MemoryInternet, lifetime: float, *, refresh_inbound: bool, preserving: bool) -> None:
        self._route = internet.transmit
        self._lifetime = lifetime
        self._refresh_inbound = refresh_inbound
        self._preserving = preserving
        self._live: list[_Live] = []
        self._made = 0
        self.new_lifetime = lifetime
        """While it has not been used for two seconds."""
        self.pool: tuple[str, ...] = (OUTSIDE,)
        """Its outer addresses, which new mappings get in turn."""
        self.left: list[tuple[float, Endpoint]] = []
        internet.transmit = self.transmit  # type: ignore[method-assign]

    def transmit(self, packet: MemoryPacket) -> None:
        now = trio.current_time()
        self._live = [
            one for one in self._live if now - one.used < (self._lifetime if one.is_old else self.new_lifetime)
        ]
        if packet.source.host == INSIDE:
            self.left.append((now, packet.source))
            found = next((one for one in self._live if one.inner == packet.source.port), None) or self._make(
                packet, now
            )
            found.used, found.is_old = now, found.is_old or now - found.made > 2.0
            self._route(replace(packet, source=found.outer))
        elif packet.destination.host in self.pool:
            target = next((one for one in self._live if one.outer == packet.destination), None)
            if target is not None:
                target.used = now if self._refresh_inbound else target.used
                self._route(replace(packet, destination=Endpoint(INSIDE, target.inner)))
        else:
            self._route(packet)

    def _make(self, packet: MemoryPacket, now: float) -> _Live:
        self._made += 1
        port = packet.source.port if self._preserving else 50000 + self._made
        made = _Live(packet.source.port, Endpoint(self.pool[self._made % len(self.pool)], port), now, now)
        self._live.append(made)
        return made


async def measured(
    lifetime: float,
    *,
    refresh_inbound: bool = True,
    preserving: bool = True,
    new_lifetime: float | None = None,
    pool: tuple[str, ...] = (OUTSIDE,),
    is_lenient: bool = False,
) -> tuple[float | None, float, int]:
    """What is measured, in how many seconds, with how many packets."""
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        server = internet.add_host("server", SERVER.host)
        if is_lenient:
            nursery.start_soon(answer_anywhere, await server.open_socket(SERVER))
        else:
            socket = await server.open_service_socket(SERVER)
            nursery.start_soon(partial(serve_stun, [socket], rate_per_source=100.0))
        home = internet.add_host("home", INSIDE)
        nat = ForgetfulNat(internet, lifetime, refresh_inbound=refresh_inbound, preserving=preserving)
        nat.new_lifetime, nat.pool = new_lifetime or lifetime, pool
        began = trio.current_time()
        found = await measure_lifetime(home, MemoryEntropy(random.Random(1)), SERVER, RUNGS)
        took = trio.current_time() - began
        nursery.cancel_scope.cancel()
    return found, took, len(nat.left)


@pytest.mark.parametrize("preserving", [True, False])
@pytest.mark.parametrize("refresh_inbound", [True, False])
@pytest.mark.parametrize(
    ("lifetime", "told"),
    [
        (6.0, CONTROL),
        (10.0, 8.0),
        (20.0, 18.0),
        (30.0, 28.0),
        (65.0, 58.0),
        (120.0, 118.0),
        (180.0, 178.0),
        (9e9, 178.0),
    ],
)
async def test_the_longest_rung_that_a_mapping_outlives_is_told(
    autojump_clock: trio.testing.MockClock, lifetime: float, told: float, refresh_inbound: bool, preserving: bool
) -> None:
    """A NAT that keeps ports gives a dead mapping its old port back, so only who asks from outside finds out."""
    found, took, packets = await measured(lifetime, refresh_inbound=refresh_inbound, preserving=preserving)
    assert found == told
    assert took < max(told, 10.0) * 2.2 + SETTLING + 3.0
    assert packets <= 40


async def test_a_mapping_is_measured_as_one_that_was_used(autojump_clock: trio.testing.MockClock) -> None:
    """netfilter keeps a flow for 30 s until it has been used for 2 s, and 120 s from then on."""
    found, _, _ = await measured(120.0, new_lifetime=30.0)
    assert found == 118.0


@pytest.mark.parametrize("is_lenient", [True, False])
async def test_with_several_outer_addresses_nothing_is_measured(
    autojump_clock: trio.testing.MockClock, is_lenient: bool
) -> None:
    """The messenger would have the answer sent to an address where the holder is not: here to the first one alone."""
    elsewhere = "26.0.0.2"
    found, _, _ = await measured(120.0, pool=(elsewhere, OUTSIDE, *[elsewhere] * 5), is_lenient=is_lenient)
    assert found is None


async def test_a_server_that_answers_at_no_other_port_measures_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """It may ignore the wish, or refuse it."""
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        server = internet.add_host("server", SERVER.host)
        nursery.start_soon(answer_the_asker, await server.open_socket(SERVER))
        home = internet.add_host("home", OUTSIDE)
        assert await measure_lifetime(home, MemoryEntropy(random.Random(1)), SERVER, RUNGS) is None
        nursery.cancel_scope.cancel()


async def answer_anywhere(socket: DatagramSocket) -> None:
    """As servers that honor RESPONSE-PORT whoever listens there."""
    while True:
        for datagram, remote in await socket.receive_batch():
            request = decode_stun(datagram)
            target = Endpoint(remote.host, request.response_port or remote.port)
            socket.send_nowait(encode_stun(binding_success(request, remote)), target)


async def answer_the_asker(socket: DatagramSocket) -> None:
    while True:
        for datagram, remote in await socket.receive_batch():
            socket.send_nowait(encode_stun(binding_success(decode_stun(datagram), remote)), remote)


async def test_a_server_that_falls_silent_measures_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Its silence must not pass for that of a NAT."""
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        server = internet.add_host("server", SERVER.host)
        nursery.start_soon(serve_for, 20.0, await server.open_service_socket(SERVER))
        home = internet.add_host("home", OUTSIDE)
        assert await measure_lifetime(home, MemoryEntropy(random.Random(1)), SERVER, RUNGS) is None
        nursery.cancel_scope.cancel()


async def serve_for(seconds: float, socket: ServiceSocket) -> None:
    with trio.move_on_after(seconds):
        await serve_stun([socket], rate_per_source=100.0)


@pytest.mark.parametrize(
    ("lifetime", "keepalive"),
    [(None, 15.0), (CONTROL, 5.0), (8.0, 5.0), (18.0, 9.0), (28.0, 14.0), (58.0, 29.0), (118.0, 59.0), (178.0, 60.0)],
)
def test_the_keepalive_is_half_of_what_was_measured_within_bounds(lifetime: float | None, keepalive: float) -> None:
    assert keepalive_for(lifetime, DEFAULT_TIMINGS) == keepalive
