"""The second look: once a place, again when we are elsewhere or somebody asks, and what it says joins the verdict."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest
import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Filtering, Mapping, NatReport, Udp
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.nat.classification import StunAnswer
from tunnel.nat.survey import SurveyResult
from tunnel.node.behavior_discovery import BehaviorDiscovery
from tunnel.server.stun_service import serve_stun
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.memory.machine import MemoryEntropy

AT_ONCE = replace(DEFAULT_TIMINGS, discovery_delay=0.0)
OWN = tuple(Endpoint(host, port) for host in ("25.0.0.1", "25.0.0.2") for port in (3478, 3479))
HERE, THERE = Endpoint("26.0.0.1", 5000), Endpoint("26.0.0.2", 5000)
VERDICT = NatReport(mapping=Mapping.NONE, udp=Udp.OPEN)
UNKNOWN, OPEN = Filtering.UNKNOWN, Filtering.ENDPOINT_INDEPENDENT


def seen_at(mapped: Endpoint, report: NatReport = VERDICT) -> SurveyResult:
    """A verdict in which two addresses of our server saw us there."""
    answers = (StunAnswer(str(one), one, mapped, 0.02, True, other) for one, other in zip(OWN, OWN[::-1], strict=True))
    return SurveyResult(report, (mapped,), tuple(answers))


class News(Notifier):
    """Writes down when it is notified."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def notify(self) -> None:
        self.times.append(trio.current_time())
        super().notify()


class Desk:
    """Behavior discovery on a public machine, what it sent, and when it had news."""

    def __init__(self) -> None:
        self.sent: list[float] = []
        self.news = News()
        self.behavior: BehaviorDiscovery

    def says(self) -> Filtering:
        return self.behavior.report_of(VERDICT).filtering


@pytest.fixture
async def desk(autojump_clock: trio.testing.MockClock, request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        server = internet.add_host("server", "25.0.0.1", "25.0.0.2")
        sockets = [await server.open_service_socket(one) for one in OWN]
        nursery.start_soon(partial(serve_stun, sockets, rate_per_source=200.0))
        host = internet.add_host("desk", HERE.host)
        made = Desk()
        host.on_sent = lambda _: made.sent.append(trio.current_time())
        made.behavior = BehaviorDiscovery(
            host,
            timings=getattr(request, "param", AT_ONCE),
            entropy=MemoryEntropy(random.Random(1)),
            news=made.news,
        )
        nursery.start_soon(made.behavior.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_without_a_verdict_nobody_is_asked(desk: Desk) -> None:
    await trio.sleep(1000.0)
    assert desk.sent == []


async def test_a_verdict_is_completed_within_three_seconds(desk: Desk) -> None:
    desk.behavior.note(seen_at(HERE), OWN)
    assert desk.says() is UNKNOWN
    await trio.sleep(3.0)
    assert desk.says() is OPEN
    assert len(desk.news.times) == 1
    assert len(desk.sent) <= 40


async def test_the_same_place_is_not_looked_at_again_for_a_day(desk: Desk) -> None:
    desk.behavior.note(seen_at(HERE), OWN)
    await trio.sleep(5.0)
    before = len(desk.sent)
    for _ in range(100):
        desk.behavior.note(seen_at(HERE), OWN)
        await trio.sleep(300.0)
    assert len(desk.sent) == before
    await trio.sleep(DEFAULT_TIMINGS.lifetime_refresh)
    assert before < len(desk.sent) <= 3 * before


async def test_another_place_is_looked_at_and_nothing_of_the_first_is_said_there(desk: Desk) -> None:
    desk.behavior.note(seen_at(HERE), OWN)
    await trio.sleep(5.0)
    before = len(desk.sent)
    desk.behavior.note(seen_at(THERE), OWN)
    assert desk.says() is UNKNOWN
    await trio.sleep(10.0)
    assert desk.says() is OPEN
    assert len(desk.sent) > before


async def ask_from_place_to_place(desk: Desk, places: int) -> float:
    """Seconds that a wish takes while we are seen somewhere else again and again, so many times."""
    desk.behavior.note(seen_at(HERE), OWN)
    await trio.sleep(1.0)
    began = trio.current_time()

    async def wander() -> None:
        for turn in range(places):
            await trio.sleep(0.03)  # a discovery takes twice as long
            desk.behavior.note(seen_at((THERE, HERE)[turn % 2]), OWN)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wander)
        await desk.behavior.discover_now()
        nursery.cancel_scope.cancel()
    return trio.current_time() - began


@pytest.mark.parametrize("desk", [DEFAULT_TIMINGS], indirect=True)
async def test_a_wish_outlives_the_place_in_which_it_was_made(desk: Desk) -> None:
    """Else it would wait until the calm is over, a minute: longer than anybody who asked."""
    assert await ask_from_place_to_place(desk, 1) <= 10.0
    assert desk.says() is OPEN


async def test_who_is_never_long_in_one_place_is_not_waited_for_any_longer(desk: Desk) -> None:
    assert await ask_from_place_to_place(desk, 1000) == pytest.approx(15.0)


async def test_a_mapping_that_turned_hard_is_another_place(desk: Desk) -> None:
    desk.behavior.note(seen_at(HERE), OWN)
    await trio.sleep(5.0)
    desk.behavior.note(seen_at(HERE, replace(VERDICT, mapping=Mapping.ADDRESS_DEPENDENT)), OWN)
    assert desk.says() is UNKNOWN


async def test_where_no_datagram_passes_the_verdict_is_all(desk: Desk) -> None:
    desk.behavior.note(seen_at(HERE), OWN)
    await trio.sleep(5.0)
    before = len(desk.sent)
    desk.behavior.note(SurveyResult(NatReport(udp=Udp.BLOCKED)), OWN)
    await trio.sleep(100.0)
    assert desk.behavior.report_of(NatReport(udp=Udp.BLOCKED)) == NatReport(udp=Udp.BLOCKED)
    assert len(desk.sent) == before


async def test_a_discovery_now_is_one_that_begins_now(desk: Desk) -> None:
    """One that is under way does not count: what somebody just changed may have come too late for it."""
    desk.behavior.note(seen_at(HERE), OWN)
    await trio.sleep(0.01)
    await desk.behavior.discover_now()
    two = len(desk.sent)
    await desk.behavior.discover_now()
    assert desk.says() is OPEN
    assert len(desk.sent) - two == two // 2


async def test_a_wish_with_nobody_to_ask_is_answered_at_once(desk: Desk) -> None:
    with trio.fail_after(0.1):
        await desk.behavior.discover_now()


async def test_a_machine_that_nothing_stands_before_has_no_lifetime_to_measure(desk: Desk) -> None:
    desk.behavior.note(seen_at(HERE), OWN)
    await trio.sleep(1000.0)
    assert desk.behavior.lifetime is None
    assert desk.behavior.keepalive == DEFAULT_TIMINGS.keepalive
    assert max(desk.sent) < 5.0


async def test_a_nat_is_measured_once_and_the_keepalive_follows(desk: Desk) -> None:
    """Here it is one that forgets nothing."""
    desk.behavior.note(seen_at(HERE, replace(VERDICT, mapping=Mapping.ENDPOINT_INDEPENDENT)), OWN)
    await trio.sleep(200.0)
    assert desk.behavior.lifetime == DEFAULT_TIMINGS.lifetime_rungs[-1]
    assert desk.behavior.keepalive == DEFAULT_TIMINGS.keepalive_most
    assert desk.behavior.report_of(VERDICT).lifetime == desk.behavior.lifetime
    assert len(desk.news.times) == 2
    before = len(desk.sent)
    await trio.sleep(3600.0)
    assert len(desk.sent) == before


async def test_news_of_a_lifetime_dies_with_its_place(desk: Desk) -> None:
    desk.behavior.note(seen_at(HERE, replace(VERDICT, mapping=Mapping.ENDPOINT_INDEPENDENT)), OWN)
    await trio.sleep(200.0)
    desk.behavior.note(seen_at(THERE), OWN)
    assert desk.behavior.lifetime is None
    assert desk.behavior.keepalive == DEFAULT_TIMINGS.keepalive
