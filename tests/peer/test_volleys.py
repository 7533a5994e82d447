"""Volleys: when they leave, and how far they reach."""

from __future__ import annotations

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.model.way import Way
from tunnel.peer.tactics import OPENING_TTL, PunchPlan
from tunnel.peer.volleys import send_volleys

FAR = Way(0, Endpoint("25.2.0.1", 7))
NEAR = Way(0, Endpoint("192.168.1.10", 7))


async def volleys(*ways: Way, opening: bool, seconds: float) -> list[tuple[float, Way, int | None]]:
    plan = PunchPlan(ways, 10.0, Reason(ReasonCode.PROBES_UNANSWERED))
    began = trio.current_time()
    sent: list[tuple[float, Way, int | None]] = []
    with trio.move_on_after(seconds):
        await send_volleys(
            lambda: plan,
            lambda way, ttl: sent.append((round(trio.current_time() - began, 3), way, ttl)),
            DEFAULT_TIMINGS,
            opening=opening,
        )
    return sent


async def test_volleys_follow_the_ladder_and_then_each_second(autojump_clock: trio.testing.MockClock) -> None:
    sent = await volleys(FAR, opening=False, seconds=3.0)
    assert sent == [(at, FAR, None) for at in (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.8, 2.8)]


@pytest.mark.parametrize("stall", [0.0, 0.05, 0.099])
async def test_no_probe_arrives_before_a_peer_that_begins_a_little_later_has_opened_its_nat(
    autojump_clock: trio.testing.MockClock, stall: float
) -> None:
    """A NAT may hold an unsolicited packet against its sender, and the peer's own mapping moves to another port."""
    arriving = [at for at, _, ttl in await volleys(FAR, opening=True, seconds=1.0) if ttl is None]
    opened = [at + stall for at, _, ttl in await volleys(FAR, opening=True, seconds=1.0) if ttl == OPENING_TTL]
    assert min(opened) < min(arriving)


async def test_what_is_near_is_reached_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """There is no NAT of theirs on the way."""
    sent = await volleys(NEAR, FAR, opening=True, seconds=0.01)
    assert sent == [(0.0, NEAR, None), (0.0, FAR, OPENING_TTL)]
