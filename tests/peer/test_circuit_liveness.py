"""A pair without a direct path gets a circuit, proves it at full size, and goes back to the WebSocket where it dies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
import trio.testing

from tunnel.model.endpoint import Endpoint
from tunnel.model.way import RELAY, Way
from tunnel.peer.path import NEVER
from tunnel.wire.frames import BASE_SIZE, Kind

if TYPE_CHECKING:
    from tests.peer.conftest import Bench, Side

CIRCUIT = Way(0, Endpoint("25.0.0.1", 3478), 77)
PACKET = b"\x81packet"


@asynccontextmanager
async def relayed(bench: Bench, *, sending: bool = True) -> AsyncIterator[None]:
    """No direct path, a UDP relay; the left side sends ten packets a second, and both have had time for a circuit."""
    bench.direct, bench.has_udp_relay = False, True
    bench.meet()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_sending, bench.left)
        with trio.fail_after(5.0):
            while bench.left.peer.flow.route != (CIRCUIT,):  # noqa: ASYNC110 - a route changes without a word
                await trio.sleep(0.1)
        if not sending:
            nursery.cancel_scope.cancel()
        yield
        nursery.cancel_scope.cancel()


async def keep_sending(side: Side) -> None:
    while True:
        side.peer.send_packet(PACKET)
        await trio.sleep(0.1)


def kind_of(side: Side) -> str:
    path = side.peer.path_status()
    assert path is not None
    return path.kind


async def test_a_relayed_pair_moves_to_a_circuit_and_says_so_at_both_ends(bench: Bench) -> None:
    async with relayed(bench):
        await trio.sleep(0.2)
        for side in (bench.left, bench.right):
            assert kind_of(side) == "relay-udp"
            path = side.peer.path_status()
            assert path is not None
            assert path.endpoint == CIRCUIT.remote
            assert path.rtt is not None
            assert side.peer.state in ("punching", "relayed")


async def test_a_circuit_is_never_a_direct_path(bench: Bench) -> None:
    """The state says what a person wants to know: nobody else passes the data on."""
    async with relayed(bench):
        await trio.sleep(30.0)
        assert bench.left.peer.state == "relayed"
        assert bench.left.peer.paths.chosen is None
        assert all("connected" not in move for side in (bench.left, bench.right) for move in side.moves)
        assert bench.left.peer.status().reason is not None


async def test_a_pair_with_a_direct_path_wants_no_circuit(bench: Bench) -> None:
    bench.has_udp_relay = True
    await bench.connect()
    for _ in range(100):
        bench.left.peer.send_packet(PACKET)
        await trio.sleep(0.1)
    assert bench.left.circuit_wishes == bench.right.circuit_wishes == 0


async def test_a_circuit_that_carries_no_full_size_packets_carries_none(bench: Bench) -> None:
    bench.direct, bench.has_udp_relay = False, True
    bench.drop = lambda side, way, datagram: bool(way.circuit) and len(datagram) >= BASE_SIZE
    bench.meet()
    for _ in range(100):
        bench.left.peer.send_packet(PACKET)
        await trio.sleep(0.1)
    assert kind_of(bench.left) == "relay-websocket"
    assert len(bench.right.received) >= 99
    assert Kind.DATA not in bench.left.kinds_sent(CIRCUIT)


async def test_when_the_circuit_dies_little_is_lost_and_the_websocket_carries(bench: Bench) -> None:
    async with relayed(bench):
        await trio.sleep(2.0)
        bench.circuit = False
        before = len(bench.right.received)
        await trio.sleep(10.0)
        assert len(bench.right.received) - before >= 84  # of 100: a heartbeat a second, and half a second of doubt
        assert kind_of(bench.left) == "relay-websocket"
        assert bench.left.peer.flow.route == (RELAY,)
        assert bench.left.circuit_doubts >= 1


async def test_a_circuit_that_answers_again_carries_again(bench: Bench) -> None:
    async with relayed(bench):
        bench.circuit = False
        await trio.sleep(20.0)
        bench.circuit = True
        await trio.sleep(6.0)
        assert kind_of(bench.left) == "relay-udp"


async def test_data_takes_both_relays_while_the_circuit_is_in_doubt(bench: Bench) -> None:
    async with relayed(bench):
        await trio.sleep(2.0)
        bench.circuit = False
        await trio.sleep(2.5)
        assert bench.left.peer.flow.route == (CIRCUIT, RELAY)
        assert kind_of(bench.left) == "relay-websocket"


async def test_a_circuit_is_not_doubted_for_a_stall_of_ours(
    bench: Bench, autojump_clock: trio.testing.MockClock
) -> None:
    """A probe was open, and nothing came in while there was no turn."""
    async with relayed(bench), trio.open_nursery() as nursery:
        for side in (bench.left, bench.right):
            nursery.start_soon(side.stalls.run)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(3.0)
        before = [side.circuit_doubts for side in (bench.left, bench.right)]
        for seconds in (0.5, 0.6, 1.0, 2.0, 4.0):
            await trio.sleep(0.5)
            circuit = bench.left.peer.paths.relays.circuit
            while circuit is not None and circuit.asked == NEVER:  # noqa: ASYNC110 - the next heartbeat
                await trio.sleep(0.01)
            autojump_clock.jump(seconds)
            for _ in range(30):
                assert bench.left.peer.flow.route == (CIRCUIT,)
                await trio.sleep(0.02)
        assert [side.circuit_doubts for side in (bench.left, bench.right)] == before
        nursery.cancel_scope.cancel()


async def test_an_idle_pair_lets_its_circuit_go_and_probes_it_no_more(bench: Bench) -> None:
    """Each side's probes must not be what keeps the other's alive."""
    async with relayed(bench, sending=False):
        await trio.sleep(bench.left.timings.circuit_idle + 10.0)
        wishes, sent = bench.left.circuit_wishes, len(bench.left.kinds_sent(CIRCUIT))
        await trio.sleep(300.0)
        assert bench.left.circuit_wishes == wishes
        assert len(bench.left.kinds_sent(CIRCUIT)) == sent
        bench.left.peer.send_packet(PACKET)
        await trio.sleep(0.2)
        assert bench.right.received[-1] == PACKET


async def test_the_circuit_carries_on_while_the_link_to_the_server_is_dialed_again(bench: Bench) -> None:
    async with relayed(bench):
        await trio.sleep(2.0)
        bench.relay = False
        for side in (bench.left, bench.right):
            side.is_registered = False
            side.peer.note_change()
        before = len(bench.right.received)
        await trio.sleep(2.0)
        assert len(bench.right.received) - before >= 19
        bench.circuit = False
        await trio.sleep(5.0)
        assert not bench.left.peer.can_carry


async def test_a_handshake_takes_both_relays(bench: Bench) -> None:
    """Whichever is quicker, and whichever is left: without keys nothing goes over either."""
    async with relayed(bench):
        await trio.sleep(bench.left.timings.rekey_after + 5.0)
        assert Kind.HANDSHAKE in bench.left.kinds_sent(CIRCUIT) + bench.right.kinds_sent(CIRCUIT)
