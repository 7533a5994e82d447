"""A peer connection that is told to end: from whatever state it is in, and nothing of it is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from tests.peer.conftest import Bench


async def be_detecting(bench: Bench) -> None:
    bench.left.is_announced = False
    await trio.testing.wait_all_tasks_blocked()


async def be_announced(bench: Bench) -> None:
    await bench.wait_state(bench.left, "announced")


async def be_requested(bench: Bench) -> None:
    bench.introduces = False
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "requested")


async def be_punching(bench: Bench) -> None:
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "punching")


async def be_connected(bench: Bench) -> None:
    await bench.connect()


async def be_relayed(bench: Bench) -> None:
    bench.direct = False
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "relayed")


@pytest.mark.parametrize(
    ("state", "reach"),
    [
        ("detecting", be_detecting),
        ("announced", be_announced),
        ("requested", be_requested),
        ("punching", be_punching),
        ("connected", be_connected),
        ("relayed", be_relayed),
    ],
)
async def test_a_peer_is_closed_in_whatever_state_it_is(
    bench: Bench, state: str, reach: Callable[[Bench], Awaitable[None]]
) -> None:
    """No scenario can ask for it: a peer is closed when it must make room, which takes more peers than a run has."""
    await reach(bench)
    assert bench.left.peer.state == state
    bench.left.peer.close()
    await bench.wait_state(bench.left, "closed")
    last = bench.left.peer.status().history[-1]
    assert (last.source, last.event, last.target) == (state, "close", "closed")
    await trio.sleep(0.1)
    assert len(bench.left.indices) == 0
    assert bench.left.punch_sockets == []
