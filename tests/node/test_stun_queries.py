"""Two requests and an act between them, so that what a counting NAT gave the act is enclosed by two answers."""

from __future__ import annotations

import itertools
import random

import trio
import trio.testing

from tunnel.model.endpoint import Endpoint
from tunnel.model.way import Way
from tunnel.node.stun_queries import MAX_OPEN, StunQueries
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.wire.stun import binding_success, decode_stun, encode_stun

SERVERS = (Endpoint("25.0.0.1", 3478), Endpoint("25.0.0.2", 3479))
PATIENCE = 1.0


class Nat:
    """Counts, and tells by STUN; `is_deaf` to the servers named."""

    def __init__(self, *deaf: Endpoint) -> None:
        self.deaf = deaf
        self.counted = itertools.count(5000)
        self.sent: list[tuple[int, Endpoint]] = []
        self.stun_queries = StunQueries(self, MemoryEntropy(random.Random(1)))

    def send(self, way: Way, datagram: bytes) -> bool:
        socket, remote = way.socket, way.remote
        assert remote is not None
        self.sent.append((socket, remote))
        seen = Endpoint("26.0.1.1", next(self.counted))
        answer = encode_stun(binding_success(decode_stun(datagram), seen))
        if remote not in self.deaf:
            trio.lowlevel.spawn_system_task(self._answer, socket, answer, remote)
        return True

    async def _answer(self, socket: int, answer: bytes, remote: Endpoint) -> None:
        await trio.sleep(0.1)
        self.stun_queries.handle_untrusted(socket + 1, answer, remote)
        self.stun_queries.handle_untrusted(socket, answer, Endpoint("66.6.6.6", 3478))
        self.stun_queries.handle_untrusted(socket, answer[:10], remote)
        self.stun_queries.handle_untrusted(socket, answer, remote)


async def test_an_act_is_enclosed_by_what_the_servers_saw(autojump_clock: trio.testing.MockClock) -> None:
    nat = Nat()
    acted: list[int] = []
    before, after = await nat.stun_queries.enclose(7, SERVERS, lambda: acted.append(next(nat.counted)), PATIENCE)
    assert acted == [5001]
    assert (before, after) == (Endpoint("26.0.1.1", 5000), Endpoint("26.0.1.1", 5002))
    assert nat.sent == [(7, SERVERS[0]), (7, SERVERS[1])]


async def test_what_is_not_answered_is_not_known_after_its_patience(autojump_clock: trio.testing.MockClock) -> None:
    before, after = await Nat(SERVERS[0]).stun_queries.enclose(7, SERVERS, lambda: None, PATIENCE)
    assert (before, after) == (None, Endpoint("26.0.1.1", 5001))
    assert trio.current_time() == PATIENCE


async def test_the_act_is_done_also_where_nobody_can_be_asked(autojump_clock: trio.testing.MockClock) -> None:
    acted: list[bool] = []
    nat = Nat()
    assert await nat.stun_queries.enclose(7, (), lambda: acted.append(True), PATIENCE) == (None, None)
    assert acted == [True]
    assert await nat.stun_queries.enclose(7, SERVERS[:1], lambda: acted.append(True), PATIENCE) == (
        Endpoint("26.0.1.1", 5000),
        None,
    )


async def test_only_so_many_questions_are_open_at_once_and_none_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    nat = Nat(*SERVERS)
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_OPEN):
            nursery.start_soon(nat.stun_queries.enclose, 7, SERVERS, lambda: None, PATIENCE)
    assert len(nat.sent) == MAX_OPEN
    await nat.stun_queries.enclose(7, SERVERS, lambda: None, PATIENCE)
    assert len(nat.sent) == MAX_OPEN + 2
