"""Requests from fresh sockets: which sockets, and what counts as a reply."""

from __future__ import annotations

import random
from functools import partial

import pytest
import trio
import trio.testing

from tunnel.model.endpoint import Endpoint
from tunnel.nat.stun_client import MAX_SOCKETS, open_stun_client
from tunnel.server.stun_service import serve_stun
from tunnel.verify.memory.host import FIRST_EPHEMERAL_PORT, MemoryHost
from tunnel.verify.memory.internet import MemoryInternet, open_memory_internet
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.verify.memory.packet import MemoryPacket

SERVER = Endpoint("25.0.0.1", 3478)
HOME = "26.0.0.1"


async def serve(internet: MemoryInternet, nursery: trio.Nursery) -> MemoryHost:
    """A server, and a home that asks it."""
    socket = await internet.add_host("server", SERVER.host).open_service_socket(SERVER)
    nursery.start_soon(partial(serve_stun, [socket], rate_per_source=200.0))
    return internet.add_host("home", HOME)


def entropy() -> MemoryEntropy:
    return MemoryEntropy(random.Random(5))


async def test_sockets_stand_at_random_ports_below_those_that_machines_give_away() -> None:
    """A NAT that counts must not look as if it preserved ports, nor the other way round."""
    async with open_memory_internet() as internet:
        host = internet.add_host("home", HOME)
        async with open_stun_client(host, entropy()) as stun_client:
            ports = [(await stun_client.open_socket()).socket.local.port for _ in range(MAX_SOCKETS)]
    assert ports != sorted(ports)
    assert max(ports) < FIRST_EPHEMERAL_PORT
    assert max(ports) - min(ports) > 10000


async def test_a_port_that_is_taken_is_replaced_by_another() -> None:
    async with open_memory_internet() as internet:
        host = internet.add_host("home", HOME)
        async with open_stun_client(host, entropy()) as first, open_stun_client(host, entropy()) as second:
            one, other = await first.open_socket(), await second.open_socket()
            assert one.socket.local.port != other.socket.local.port


async def test_an_answer_at_the_very_end_breaks_nothing() -> None:
    """The receiver was woken, and the block ends before its turn. Tasks that are due together run in any order."""
    async with open_memory_internet() as internet:
        home, server = (
            internet.add_host("home", HOME),
            await internet.add_host("server", SERVER.host).open_socket(SERVER),
        )
        for _ in range(30):
            ended = await home.open_socket(Endpoint("0.0.0.0", 0))
            async with open_stun_client(home, entropy()) as stun_client:
                stun_socket = await stun_client.open_socket()
                await trio.testing.wait_all_tasks_blocked()
                for socket in (stun_socket.socket, ended):
                    server.send_nowait(b"late", Endpoint(HOME, socket.local.port))
                await ended.receive_batch()


async def test_all_sockets_are_closed_at_the_end() -> None:
    async with open_memory_internet() as internet:
        async with open_stun_client(internet.add_host("home", HOME), entropy()) as stun_client:
            stun_socket = await stun_client.open_socket()
        with pytest.raises(trio.ClosedResourceError):
            stun_socket.socket.send_nowait(b"", SERVER)


async def test_a_reply_counts_once_and_junk_not_at_all(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        home = await serve(internet, nursery)
        route = internet.transmit

        def repeat(packet: MemoryPacket) -> None:
            if packet.destination.host == HOME:
                route(MemoryPacket(packet.source, packet.destination, b"junk"))
                route(packet)
            route(packet)

        internet.transmit = repeat  # type: ignore[method-assign]
        async with open_stun_client(home, entropy()) as stun_client:
            stun_socket = await stun_client.open_socket()
            question = stun_socket.request(SERVER)
            reply = await question.wait((1.0,))
            await trio.sleep(1.0)
        nursery.cancel_scope.cancel()
    assert reply is not None
    assert (reply.source, reply.stun_socket) == (SERVER, stun_socket)
    assert reply.message.observed == Endpoint(HOME, stun_socket.socket.local.port)
    assert (question.tries, question.answered) == (1, 1)


async def test_what_is_lost_is_counted_where_it_was_sent(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        home = await serve(internet, nursery)
        async with open_stun_client(home, entropy()) as stun_client:
            stun_socket = await stun_client.open_socket()
            assert await stun_socket.request(Endpoint("25.0.0.7", 3478)).wait((0.1, 0.1)) is None
            assert await stun_socket.request(SERVER).wait((1.0,)) is not None
            assert stun_client.lost("25.0.0.7") == 2
            assert stun_client.lost(SERVER.host) == 0
        nursery.cancel_scope.cancel()
