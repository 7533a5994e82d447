"""When a node looks at its NAT: when asked, when due, and never twice for one wish."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from tunnel.machines.notifier import Notifier
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import SettingsError
from tunnel.model.settings import NodeSettings
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.nat.survey import SurveyResult
from tunnel.network.datagrams import DatagramSocket
from tunnel.network.nat64_resolver import Nat64Resolver
from tunnel.node.nat_discovery import SUSPICIONS, WELCOMES, NatDiscovery
from tunnel.server.stun_service import serve_stun
from tunnel.verify.memory.host import MemoryHost
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.memory.machine import MemoryEntropy

AT_ONCE = replace(DEFAULT_TIMINGS, discovery_delay=0.0)
OWN = (Endpoint("25.0.0.1", 3478), Endpoint("25.0.0.1", 3479))


class News(Notifier):
    """Writes down each survey that ended, with the one before."""

    def __init__(self, home: Home) -> None:
        super().__init__()
        self._home = home
        self._known: SurveyResult | None = None

    def notify(self) -> None:
        now, survey = trio.current_time(), self._home.nat_discovery.verdict
        if survey is not None and survey is not self._known:
            self._home.changes.append((now, survey, self._known))
            self._known = survey
        super().notify()


class Home:
    """NAT discovery on a host of its own, and what it said."""

    def __init__(self, host: MemoryHost, sockets: list[DatagramSocket], *servers: str) -> None:
        world = host.world()
        self.changes: list[tuple[float, SurveyResult, SurveyResult | None]] = []
        self.nat_discovery = NatDiscovery(
            sockets,
            Nat64Resolver(world.resolver, world.interfaces),
            world.interfaces,
            NodeSettings(stun=servers, default_stun=False, timings=AT_ONCE),
            datagrams=world.datagrams,
            entropy=MemoryEntropy(random.Random(1)),
            news=News(self),
        )
        self.is_shut = False
        """Whether no answer comes through."""
        self._sockets = sockets

    async def read(self) -> None:
        while True:
            for datagram, remote in await self._sockets[0].receive_batch():
                if not self.is_shut:
                    self.nat_discovery.handle_untrusted(0, datagram, remote)


@pytest.fixture
async def home(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Home]:
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        server = internet.add_host("server", "25.0.0.1")
        addresses = [await server.open_service_socket(endpoint) for endpoint in OWN]
        nursery.start_soon(partial(serve_stun, addresses, rate_per_source=100.0))
        host = internet.add_host("home", "26.0.0.1")
        made = Home(host, [await host.open_socket(Endpoint("0.0.0.0", 0))])
        nursery.start_soon(made.read)
        nursery.start_soon(made.nat_discovery.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_nobody_is_asked_before_somebody_wants_to_know(home: Home) -> None:
    await trio.sleep(1000.0)
    assert home.changes == []


async def test_a_wish_with_nobody_to_ask_is_answered_at_once_and_says_unknown(home: Home) -> None:
    """A node without any STUN server must not wait for a verdict for ever."""
    with trio.fail_after(1.0):
        result = await home.nat_discovery.survey_now()
    assert result.report.udp.value == "unknown"
    assert result.answers == ()


async def test_wishes_that_come_together_are_one(home: Home) -> None:
    home.nat_discovery.own = OWN
    for _ in range(10):
        home.nat_discovery.request()
    await trio.sleep(10.0)
    assert len(home.changes) == 1
    _, result, before = home.changes[0]
    assert result.reflexive[0].host == "26.0.0.1"
    assert before is None


async def test_a_survey_now_is_one_that_begins_now(home: Home) -> None:
    home.nat_discovery.own = OWN
    home.nat_discovery.request()
    await trio.sleep(0.005)
    result = await home.nat_discovery.survey_now()
    assert len(home.changes) == 2
    assert result == home.changes[1][1]
    assert home.changes[1][2] is home.changes[0][1]


async def test_a_survey_is_due_again_after_five_minutes(home: Home) -> None:
    home.nat_discovery.own = OWN
    home.nat_discovery.request()
    await trio.sleep(2 * DEFAULT_TIMINGS.survey_refresh)
    first, second = (at for at, _, _ in home.changes[:2])
    assert second - first == pytest.approx(DEFAULT_TIMINGS.survey_refresh, abs=DEFAULT_TIMINGS.keepalive + 2.0)


async def suspect_often(home: Home, seconds: int) -> None:
    for _ in range(seconds):
        home.nat_discovery.suspect()
        await trio.sleep(1.0)


async def test_a_silent_peer_has_us_survey_at_once_and_then_no_more_often_than_we_do_anyhow(home: Home) -> None:
    """A member need only leave probes unanswered, and the STUN servers that we ask are not ours."""
    home.nat_discovery.own = OWN
    await home.nat_discovery.survey_now()
    await trio.sleep(30.0)
    began = trio.current_time()
    await suspect_often(home, 600)
    asked = [at - began for at, _, _ in home.changes[1:]]
    assert asked[0] < 1.0
    assert SUSPICIONS <= len(asked) <= SUSPICIONS + 2 * 600 / DEFAULT_TIMINGS.survey_refresh + 1


async def test_whoever_is_elsewhere_finds_out_from_its_own_server_however_often_it_was_misled(home: Home) -> None:
    home.nat_discovery.own = OWN
    await home.nat_discovery.survey_now()
    await suspect_often(home, 100)
    known = home.nat_discovery.verdict
    assert known is not None
    home.nat_discovery.verdict = replace(known, reflexive=(Endpoint("26.0.0.99", 1),))
    count, began = len(home.changes), trio.current_time()
    home.nat_discovery.suspect()
    await trio.sleep(2.0)
    assert len(home.changes) == count + 1
    assert home.changes[-1][0] - began < 1.5


async def test_a_firewall_that_is_opened_is_found_out_soon(home: Home) -> None:
    """Nobody answered, so one server is asked again each quarter of a minute; its first answer brings a new survey."""
    home.is_shut = True
    home.nat_discovery.own = OWN
    home.nat_discovery.request()
    await trio.sleep(100.0)
    assert [result.report.udp.value for _, result, _ in home.changes] == ["blocked"]
    home.is_shut = False
    opened = trio.current_time()
    await trio.sleep(2 * DEFAULT_TIMINGS.keepalive)
    assert [result.report.udp.value for _, result, _ in home.changes] == ["blocked", "open"]
    assert home.changes[1][0] - opened < DEFAULT_TIMINGS.keepalive + 2 * DEFAULT_TIMINGS.survey_cap


async def test_stun_that_nobody_asked_for_is_dropped(home: Home) -> None:
    home.nat_discovery.handle_untrusted(0, b"\x01\x01" + bytes(18), OWN[0])
    home.nat_discovery.handle_untrusted(7, b"\x01\x01" + bytes(18), OWN[0])
    await trio.sleep(1.0)
    assert home.nat_discovery.result is None


@pytest.mark.parametrize("server", ["", ":3478", "stun.test:port", "stun.test:99999"])
async def test_a_server_that_is_none_is_found_at_the_start(home: Home, server: str) -> None:
    async with open_memory_internet() as internet:
        with pytest.raises(SettingsError, match="HOST:PORT"):
            Home(internet.add_host("other", "26.0.0.2"), [], server)


@asynccontextmanager
async def open_aimed(*servers: Endpoint) -> AsyncIterator[tuple[Home, tuple[Endpoint, ...], list[float]]]:
    """A home that asks these servers too, eight ports of somebody who serves no STUN, and when they were asked."""
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        server, third = internet.add_host("server", "25.0.0.1"), internet.add_host("third", "25.0.0.9")
        addresses = [await server.open_service_socket(endpoint) for endpoint in OWN]
        nursery.start_soon(partial(serve_stun, addresses, rate_per_source=100.0))
        asked: list[float] = []

        async def hear(socket: DatagramSocket) -> None:
            while True:
                asked.extend(trio.current_time() for _ in await socket.receive_batch())

        ears = [await third.open_socket(Endpoint("25.0.0.9", 5300 + number)) for number in range(8)]
        for ear in ears:
            nursery.start_soon(hear, ear)
        host = internet.add_host("home", "26.0.0.1")
        made = Home(host, [await host.open_socket(Endpoint("0.0.0.0", 0))], *map(str, servers))
        nursery.start_soon(made.read)
        nursery.start_soon(made.nat_discovery.run)
        yield made, tuple(ear.local for ear in ears), asked
        nursery.cancel_scope.cancel()


async def test_a_server_of_ours_that_never_answers_has_us_ask_others_no_more_often(autojump_clock: MockClock) -> None:
    """Its UDP ports may be closed, or be somebody else's."""
    async with open_aimed(*OWN) as (home, elsewhere, _):
        home.nat_discovery.note_welcome(elsewhere)
        await trio.sleep(1000.0)
        assert len(home.changes) <= 1 + 1000.0 / DEFAULT_TIMINGS.survey_refresh


async def test_that_our_server_falls_silent_is_news_once(autojump_clock: MockClock) -> None:
    """It may be that we are elsewhere, and then others have to be asked; that it is still silent says nothing new."""
    async with open_aimed(*OWN) as (home, elsewhere, _):
        home.nat_discovery.note_welcome(OWN)
        await trio.sleep(10.0)
        home.nat_discovery.own = elsewhere
        await trio.sleep(200.0)
        assert len(home.changes) == 2


@pytest.mark.parametrize(("servers", "most"), [(OWN, 80), ((), 300)], ids=["beside others", "alone"])
async def test_a_server_that_welcomes_us_all_the_time_aims_few_questions_at_others(
    autojump_clock: MockClock, servers: tuple[Endpoint, ...], most: int
) -> None:
    """Whom it names as its STUN service need not be its own, and a link that it drops is dialed again at once."""
    async with open_aimed(*servers) as (home, elsewhere, asked):
        for _ in range(300):
            home.nat_discovery.note_welcome(elsewhere)
            await trio.sleep(2.0)
        assert WELCOMES <= len(home.changes) <= WELCOMES + 2 * 600.0 / DEFAULT_TIMINGS.survey_refresh
        assert 0 < len(asked) <= most


async def test_a_server_that_tells_us_another_address_each_time_aims_a_packet_a_second_at_others(
    autojump_clock: MockClock,
) -> None:
    """What it says of our mapping is looked into at once, for it may be true: that is when we are elsewhere."""
    async with open_aimed() as (home, elsewhere, asked):
        for _ in range(300):
            home.nat_discovery.note_welcome((OWN[0], *elsewhere[1:]))
            if home.nat_discovery.verdict is not None:
                home.nat_discovery.verdict = replace(home.nat_discovery.verdict, reflexive=(Endpoint("26.0.0.99", 1),))
            await trio.sleep(2.0)
        assert 0 < len(asked) <= 600
