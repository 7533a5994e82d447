"""When a peer is asked for, and when it is not worth asking."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.model.reasons import ReasonCode
from tunnel.wire.signals import Connect, Refusal

if TYPE_CHECKING:
    from tests.peer.conftest import Bench, Side


def requests(side: Side) -> int:
    return sum(isinstance(signal, Connect) for signal in side.signals)


def refusal_of(bench: Bench) -> Refusal:
    """What a server would say to the latest request of the left side."""
    request = next(signal for signal in reversed(bench.left.signals) if isinstance(signal, Connect))
    return Refusal(request.id, request.peer, "peer_offline", "nobody there")


async def keep_sending(side: Side, seconds: float) -> None:
    """An application that does not notice."""
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        side.peer.send_packet(b"\x81are you there?")
        await trio.sleep(0.2)


async def test_a_peer_that_nobody_wants_is_not_asked_for(bench: Bench) -> None:
    bench.meet()
    await trio.sleep(60.0)
    assert bench.left.signals == []
    assert bench.left.peer.state == "announced"


async def test_nothing_is_asked_before_our_own_announcement_is_kept(bench: Bench) -> None:
    bench.left.is_announced = False
    bench.meet()
    bench.left.peer.want()
    await trio.sleep(5.0)
    assert bench.left.peer.state == "detecting"
    bench.left.is_announced = True
    bench.left.peer.note_change()
    assert await bench.wait_state(bench.left, "connected") < 0.5


async def test_a_peer_that_left_is_not_asked_for_within_a_second(bench: Bench) -> None:
    """Its application is gone, ours still sends: asking at once would only be refused."""
    await bench.connect()
    bench.introduces = False
    bench.left.signals.clear()
    bench.left.peer.note_down("left")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_sending, bench.left, 3.0)
        await trio.sleep(0.9)
        assert requests(bench.left) == 0
        await trio.sleep(0.2)
        assert requests(bench.left) == 1


async def test_an_absent_peer_is_asked_for_more_and_more_seldom(bench: Bench) -> None:
    await bench.connect()
    bench.introduces = False
    bench.left.signals.clear()
    bench.left.peer.note_down("left")
    asked: list[float] = []

    async def refuse() -> None:
        while True:
            await trio.sleep(0.05)
            if requests(bench.left) > len(asked):
                asked.append(trio.current_time())
                bench.left.peer.note_refused(refusal_of(bench))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        await keep_sending(bench.left, 33.0)
        nursery.cancel_scope.cancel()
    assert [later - earlier for earlier, later in pairwise(asked)] == [
        pytest.approx(wait, abs=0.2) for wait in (2.0, 4.0, 8.0, 16.0)
    ]


async def test_a_peer_that_comes_back_is_asked_for_at_once(bench: Bench) -> None:
    await bench.connect()
    bench.left.peer.note_down("left")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_sending, bench.left, 2.0)
        await trio.sleep(0.5)
        bench.left.signals.clear()
        bench.meet()
        await bench.wait_state(bench.left, "connected", 0.3)
        assert requests(bench.left) > 0


async def test_packets_for_an_absent_peer_are_dropped_after_the_wanted_window(bench: Bench) -> None:
    bench.introduces = False
    bench.meet()
    bench.left.peer.note_down("left")
    bench.direct = False
    bench.left.peer.send_packet(b"\x81stale")
    await trio.sleep(bench.left.timings.wanted - 1.0)
    bench.left.peer.send_packet(b"\x81fresh")
    await trio.sleep(2.0)
    bench.meet()
    await trio.sleep(1.0)
    assert bench.right.received == [b"\x81fresh"]
    assert bench.left.peer.flow.waiting.dropped == 1


async def test_what_waits_for_an_absent_peer_does_not_keep_it_wanted_for_ever(bench: Bench) -> None:
    bench.introduces = False
    bench.meet()
    bench.left.peer.note_down("lost")
    bench.left.peer.send_packet(b"\x81once")
    await trio.sleep(60.0)
    asked = requests(bench.left)
    await trio.sleep(600.0)
    assert requests(bench.left) == asked


async def test_traffic_does_not_put_off_the_punch_without_a_server(bench: Bench) -> None:
    """Each packet is a wish, and each wish notifies the waiting activity: the five seconds run on all the same."""
    await bench.connect()
    for side in (bench.left, bench.right):
        side.is_registered = False
        side.peer.note_down("lost")
    bench.direct = False
    async with trio.open_nursery() as nursery:
        for side in (bench.left, bench.right):
            nursery.start_soon(keep_sending, side, 90.0)
        await bench.wait_state(bench.left, "announced")
        reason = bench.left.peer.status().reason
        assert reason is not None
        bench.direct = True
        assert await bench.wait_state(bench.left, "connected", 20.0) < 6.0
        nursery.cancel_scope.cancel()


async def test_a_request_without_a_server_says_that_the_server_is_the_trouble(bench: Bench) -> None:
    bench.introduces = False
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "requested")
    bench.left.is_registered = False
    bench.left.peer.note_change()
    await bench.wait_state(bench.left, "announced", 13.0)
    reason = bench.left.peer.status().reason
    assert reason is not None
    assert reason.code is ReasonCode.SERVER_UNREACHABLE


async def test_a_refusal_answers_the_request_that_it_names(bench: Bench) -> None:
    """One that comes late, when its request was given up, says nothing of the next: that would wait for nothing."""
    bench.introduces = bench.direct = False
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "requested")
    await trio.sleep(0.1)
    late = refusal_of(bench)
    await bench.wait_state(bench.left, "relayed", 13.0)
    bench.left.peer.note_refused(late)
    bench.left.peer.note_down("left")
    bench.meet()
    await trio.sleep(0.1)
    asked = requests(bench.left)
    bench.left.peer.want()
    await bench.wait_state(bench.left, "requested", 2.0)
    await trio.sleep(1.0)
    assert bench.left.peer.state == "requested"
    assert requests(bench.left) == asked + 1
    bench.left.peer.note_refused(refusal_of(bench))
    await bench.wait_state(bench.left, "announced", 0.1)
