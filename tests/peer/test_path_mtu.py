"""The size of datagrams on the path in use: found soon, given up within three seconds, never by mere loss or delay."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio
from tests.peer import conftest

from tunnel.model.way import RELAY, Way
from tunnel.peer.connection import PeerConnection
from tunnel.wire.frames import BASE_SIZE, Kind

if TYPE_CHECKING:
    from tests.peer.conftest import Bench, Side

HEADERS = 28
ETHERNET = 1500 - HEADERS
PACKET = b"\x81packet"


class Narrow:
    """What the wires of a bench take: datagrams of at most `size` bytes, and of those all but a share of `loss`."""

    def __init__(self, bench: Bench, size: int = ETHERNET, loss: float = 0.0) -> None:
        self.size, self.loss = size, loss
        self._chance = random.Random(1)
        bench.drop = self

    def __call__(self, side: Side, way: Way, datagram: bytes) -> bool:
        return way != RELAY and (len(datagram) > self.size or self._chance.random() < self.loss)


@asynccontextmanager
async def sending(bench: Bench, every: float = 0.1) -> AsyncIterator[None]:
    """The left side sends all the time."""

    async def send() -> None:
        while True:
            bench.left.peer.send_packet(PACKET)
            await trio.sleep(every)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        yield
        nursery.cancel_scope.cancel()


async def wait_size(peer: PeerConnection, size: int, patience: float) -> float:
    """Until datagrams to this peer may have this size; how long it took."""
    began = trio.current_time()
    with trio.fail_after(patience):
        while peer.flow.datagram_size != size:  # noqa: ASYNC110 - it changes without a word
            await trio.sleep(0.01)
    return trio.current_time() - began


@pytest.mark.parametrize("link_mtu", [1280, 1400, 1420, 1452, 1460, 1480, 1492, 1500, 4352, 8192, 9000])
async def test_the_mtu_of_a_new_path_is_known_within_two_seconds(bench: Bench, link_mtu: int) -> None:
    Narrow(bench, link_mtu - HEADERS)
    await bench.connect()
    async with sending(bench):
        await wait_size(bench.left.peer, link_mtu - HEADERS, 2.0)
        await wait_size(bench.right.peer, link_mtu - HEADERS, 2.0)
        path = bench.left.peer.path_status()
        assert path is not None
        assert (path.mtu, path.path_mtu) == (1280, link_mtu)


async def test_ethernet_is_known_after_one_round_trip(bench: Bench) -> None:
    Narrow(bench)
    await bench.connect()
    assert await wait_size(bench.left.peer, ETHERNET, 1.0) <= 2.5 * conftest.LATENCY


async def test_a_path_of_the_base_size_is_direct(bench: Bench) -> None:
    """IPv6's least MTU of 1280 has room for it; before, such a path was too small."""
    Narrow(bench, BASE_SIZE)
    await bench.connect()
    async with sending(bench):
        await trio.sleep(20.0)
        assert bench.left.peer.state == bench.right.peer.state == "connected"
        assert bench.left.peer.flow.datagram_size == BASE_SIZE


async def test_probes_never_come_as_a_burst(bench: Bench) -> None:
    """At most a large one and a small one in a round trip, and few until the MTU of the worst path is known."""
    Narrow(bench, BASE_SIZE)
    await bench.connect()
    began = trio.current_time()
    async with sending(bench):
        await trio.sleep(5.0)
    large = [at for at, _, kind, size in bench.left.sent if kind is Kind.PROBE and size > BASE_SIZE and at >= began]
    assert 0 < len(large) <= 3 * 4
    assert all(later - earlier >= 2 * conftest.LATENCY for earlier, later in pairwise(large))


@pytest.mark.parametrize("shrunk_to", [1492, 1400, 1280, BASE_SIZE + HEADERS])
async def test_a_path_that_shrinks_is_found_out_within_three_seconds(bench: Bench, shrunk_to: int) -> None:
    wires = Narrow(bench)
    await bench.connect()
    for _ in range(3):
        wires.size = ETHERNET
        async with sending(bench):
            bench.left.peer.note_network()
            await wait_size(bench.left.peer, ETHERNET, 2.0)
            await trio.sleep(7.77)
            wires.size = shrunk_to - HEADERS
            for side in (bench.left, bench.right):
                took = 0.0
                while side.peer.flow.datagram_size > wires.size:
                    await trio.sleep(0.01)
                    took += 0.01
                assert took < 2.0
            await wait_size(bench.left.peer, wires.size, 3.0)
            assert bench.left.peer.state == "connected"


async def test_a_path_that_shrank_while_it_was_idle_is_found_out_as_soon_as_it_is_used(bench: Bench) -> None:
    wires = Narrow(bench)
    await bench.connect()
    await wait_size(bench.left.peer, ETHERNET, 1.0)
    await trio.sleep(60.0)
    wires.size = 1400 - HEADERS
    async with sending(bench):
        assert await wait_size(bench.left.peer, BASE_SIZE, 2.0) < 1.0
        await wait_size(bench.left.peer, wires.size, 2.0)


async def test_an_idle_path_is_not_probed_for_its_mtu(bench: Bench) -> None:
    Narrow(bench)
    await bench.connect()
    await trio.sleep(20.0)
    bench.left.sent.clear()
    await trio.sleep(3600.0)
    assert not [size for _, _, kind, size in bench.left.sent if kind is Kind.PROBE and size > BASE_SIZE]


async def test_a_path_that_grew_is_used_to_the_full_at_the_next_search(bench: Bench) -> None:
    """RFC 8899, section 5.1.1: PMTU_RAISE_TIMER."""
    wires = Narrow(bench, 1400 - HEADERS)
    await bench.connect()
    async with sending(bench, every=1.0):
        await wait_size(bench.left.peer, wires.size, 2.0)
        wires.size = ETHERNET
        assert await wait_size(bench.left.peer, ETHERNET, 610.0) > 590.0


async def test_a_change_of_the_network_begins_a_new_search(bench: Bench) -> None:
    wires = Narrow(bench, 1400 - HEADERS)
    await bench.connect()
    async with sending(bench):
        await wait_size(bench.left.peer, wires.size, 2.0)
        wires.size = ETHERNET
        bench.left.peer.note_network()
        assert bench.left.peer.flow.datagram_size == BASE_SIZE
        await wait_size(bench.left.peer, ETHERNET, 1.5)


async def test_an_answer_from_before_a_path_shrank_does_not_enlarge_it(bench: Bench) -> None:
    Narrow(bench)
    await bench.connect()
    path = bench.left.peer.paths.chosen
    assert path is not None
    path.forget_size(10.0)
    assert not path.note_size(ETHERNET, 9.9)
    assert path.datagram_size == BASE_SIZE
    assert path.note_size(ETHERNET, 10.1)


async def test_random_loss_is_no_shrinking(bench: Bench) -> None:
    """Five per cent each way: the size is given up at most once in a quarter of an hour, and only for a moment."""
    wires = Narrow(bench)
    await bench.connect()
    async with sending(bench):
        await wait_size(bench.left.peer, ETHERNET, 2.0)
        wires.loss = 0.05
        small = 0
        for _ in range(9000):
            await trio.sleep(0.1)
            small += bench.left.peer.flow.datagram_size < ETHERNET
        assert small < 0.003 * 9000


async def test_a_path_that_goes_silent_or_slow_did_not_shrink(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small datagrams pass no better than large ones then: the path is judged by its heartbeats, not by its MTU."""
    Narrow(bench)
    await bench.connect()
    async with sending(bench):
        await wait_size(bench.left.peer, ETHERNET, 2.0)
        await trio.sleep(3.3)
        bench.direct = False
        await trio.sleep(4.0)
        bench.direct = True
        await trio.sleep(1.0)
        monkeypatch.setattr(conftest, "LATENCY", 0.4)
        for _ in range(200):
            assert bench.left.peer.flow.datagram_size == ETHERNET
            await trio.sleep(0.1)


async def test_a_way_that_swallows_the_base_size_is_not_direct_any_more(bench: Bench) -> None:
    """A black hole: it is doubted after a second and a half, and given up; the relay carries."""
    wires = Narrow(bench)
    await bench.connect()
    async with sending(bench):
        await wait_size(bench.left.peer, ETHERNET, 2.0)
        wires.size = 1100
        with trio.fail_after(2.0):
            while RELAY not in bench.left.peer.flow.route:  # noqa: ASYNC110 - likewise
                await trio.sleep(0.01)
        await bench.wait_state(bench.left, "relayed", 30.0)
        path = bench.left.peer.path_status()
        assert path is not None
        assert path.path_mtu is None


async def test_a_size_that_our_own_interface_refuses_is_lost_as_any_other(bench: Bench) -> None:
    """The kernel says EMSGSIZE at once; but it also refuses what fits, while its buffer is full."""
    send = type(bench.left).send

    def refuse(side: Side, way: Way, datagram: bytes, ttl: int | None = None) -> bool:
        return len(datagram) <= 1400 - HEADERS and send(side, way, datagram, ttl)

    bench.left.send = bench.right.send = None  # type: ignore[method-assign, assignment]
    for side in (bench.left, bench.right):
        side.send = lambda way, datagram, ttl=None, side=side: refuse(side, way, datagram, ttl)  # type: ignore
    await bench.connect()
    assert await wait_size(bench.left.peer, 1400 - HEADERS, 1.5) < 1.2


async def test_a_circuit_is_measured_without_its_head(bench: Bench) -> None:
    """The head comes on top of what a datagram between nodes may have."""
    bench.direct, bench.has_udp_relay = False, True
    Narrow(bench, ETHERNET - 10)
    bench.meet()
    async with sending(bench):
        await wait_size(bench.left.peer, ETHERNET - 10, 10.0)
        path = bench.left.peer.path_status()
        assert path is not None
        assert (path.kind, path.path_mtu) == ("relay-udp", 1500)


async def test_a_circuit_that_shrinks_is_found_out(bench: Bench) -> None:
    bench.direct, bench.has_udp_relay = False, True
    wires = Narrow(bench, ETHERNET - 10)
    bench.meet()
    async with sending(bench):
        await wait_size(bench.left.peer, ETHERNET - 10, 10.0)
        wires.size = 1280 - HEADERS - 10
        await wait_size(bench.left.peer, BASE_SIZE, 2.0)
        await wait_size(bench.left.peer, wires.size, 2.0)


async def test_over_the_link_to_the_server_nothing_is_measured(bench: Bench) -> None:
    bench.direct = False
    bench.meet()
    async with sending(bench):
        await trio.sleep(30.0)
        path = bench.left.peer.path_status()
        assert path is not None
        assert (path.kind, path.path_mtu) == ("relay-websocket", None)
        assert bench.left.peer.flow.datagram_size == BASE_SIZE
