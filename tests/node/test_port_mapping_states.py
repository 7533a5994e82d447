"""A node's port mapping against the simulated gateway: asked for, watched, renewed, lost, given back."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from tunnel.machines.notifier import Notifier
from tunnel.model.endpoint import Endpoint
from tunnel.model.port_mapping import PortProtocol
from tunnel.model.timings import DEFAULT_TIMINGS, Timings
from tunnel.model.transport import Transport
from tunnel.nat.gateways.nat_pmp import NatPmpClient
from tunnel.nat.gateways.pcp import PcpClient
from tunnel.nat.gateways.race import PortClients
from tunnel.nat.gateways.upnp import UpnpClient
from tunnel.node.port_mapping_states import PortMappingStates
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.reachability.topology import Gateway, Host, Lie, Router, Topology
from tunnel.verify.simulation.internet.simulated_network import SimulatedNetwork, build_network

OUTSIDE, DESK, PORT = "26.0.0.1", "192.168.1.2", 40000
ALL = Gateway(upnp=True, nat_pmp=True, pcp=True)
ONE_EACH = [Gateway(pcp=True), Gateway(nat_pmp=True), Gateway(upnp=True)]
each_protocol = pytest.mark.parametrize("speaks", ONE_EACH, ids=["PCP", "NAT-PMP", "UPnP"])
SOON = 2.0


class News(Notifier):
    """Counts."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def notify(self) -> None:
        self.count += 1
        super().notify()


class Home:
    """A desk behind `home`; `office` is elsewhere. `moves` are the chart's, each with its time."""

    def __init__(self, net: SimulatedNetwork, timings: Timings) -> None:
        self.net = net
        self.router = net.routers["home"]
        self.news = News()
        world = net.hosts["desk"].world()
        clients = PortClients(
            PcpClient(world.datagrams, b"n" * 12, timings.port_waits),
            NatPmpClient(world.datagrams, timings.port_waits),
            UpnpClient(world.port_mapper, world.store),
        )
        self.mapping = PortMappingStates(
            world.interfaces, clients, port=PORT, is_ipv6=False, timings=timings, news=self.news
        )

    @property
    def state(self) -> str:
        return self.mapping.runner.state

    @property
    def open_port(self) -> Endpoint | None:
        """Where the router leads our port."""
        entry = self.router.statics.at(Transport.UDP, PORT)
        return None if entry is None else entry.inner

    def speak(self, gateway: Gateway) -> None:
        self.router.spec = replace(self.router.spec, gateway=gateway)

    async def wait_state(self, state: str, within: float) -> float:
        """How long it took."""
        began = trio.current_time()
        with trio.fail_after(within):
            await self.news.wait_until(lambda: self.state == state)
        return trio.current_time() - began


OpenHome = Callable[..., AbstractAsyncContextManager[Home]]


@pytest.fixture
def open_home(autojump_clock: MockClock) -> OpenHome:
    @asynccontextmanager
    async def run(speaks: Gateway, timings: Timings = DEFAULT_TIMINGS) -> AsyncIterator[Home]:
        topology = Topology(
            routers={
                "home": Router(address=OUTSIDE, inner="192.168.1.1", gateway=speaks),
                "office": Router(address="26.0.0.2", inner="192.168.2.1", gateway=ALL),
            },
            hosts={"desk": Host(addresses=(DESK,), behind="home")},
        )
        async with open_memory_internet() as internet, trio.open_nursery() as nursery:
            home = Home(build_network(internet, topology, seed=1), timings)
            nursery.start_soon(home.mapping.run)
            yield home
            nursery.cancel_scope.cancel()

    return run


@each_protocol
async def test_a_port_is_mapped_and_given_back(open_home: OpenHome, speaks: Gateway) -> None:
    async with open_home(speaks) as home:
        await home.wait_state("mapped", SOON)
        assert home.open_port == Endpoint(DESK, PORT)
        lease = home.mapping.lease
        assert lease is not None
        assert lease.external == Endpoint(OUTSIDE, PORT)
        began = trio.current_time()
        await home.mapping.leave()
        assert trio.current_time() - began < 0.1
        assert home.open_port is None
        assert home.mapping.lease is None


class Watch(trio.abc.Instrument):
    """Sees the status after each step of each task."""

    def __init__(self, mapping: PortMappingStates) -> None:
        self.seen: set[tuple[str, PortProtocol | None]] = set()
        self._mapping = mapping

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        status = self._mapping.status()
        self.seen.add((status.state, status.protocol))


@each_protocol
async def test_state_and_lease_change_at_once(open_home: OpenHome, speaks: Gateway) -> None:
    """Whoever looks between two steps never sees a state beside what belongs to another one."""
    async with open_home(speaks) as home:
        watch = Watch(home.mapping)
        trio.lowlevel.add_instrument(watch)
        await home.wait_state("mapped", SOON)
        assert home.mapping.lease is not None
        assert watch.seen == {("probing", None), ("mapped", home.mapping.lease.protocol)}


@each_protocol
async def test_a_port_that_is_granted_at_the_very_end_is_given_back(open_home: OpenHome, speaks: Gateway) -> None:
    """Otherwise it would stay open for two hours."""
    async with open_home(speaks) as home:
        while home.open_port is None:
            await trio.lowlevel.checkpoint()
            await trio.sleep(0.0001)
        await home.mapping.leave()
        assert home.mapping.lease is None


@each_protocol
async def test_a_lease_is_renewed_at_half_its_life_and_stays_the_same(open_home: OpenHome, speaks: Gateway) -> None:
    async with open_home(replace(speaks, max_lease=100.0), replace(DEFAULT_TIMINGS, port_lease=100.0)) as home:
        await home.wait_state("mapped", SOON)
        lease = home.mapping.lease
        assert lease is not None
        changes = home.news.count
        await trio.sleep_until(lease.since + 49)
        assert (home.mapping.lease, home.news.count) == (lease, changes)
        await trio.sleep_until(lease.since + 51)
        assert home.state == "mapped"
        assert home.mapping.lease is not None
        assert home.mapping.lease.external == lease.external
        assert home.mapping.lease.since == pytest.approx(lease.since + 50, abs=0.1)
        await trio.sleep(1000)
        assert home.open_port == Endpoint(DESK, PORT)


async def test_however_short_leases_are_no_gateway_makes_us_ask_more_often(open_home: OpenHome) -> None:
    async with open_home(Gateway(pcp=True, max_lease=1.0)) as home:
        await home.wait_state("mapped", SOON)
        moves = home.mapping.runner.statistics().moves
        await trio.sleep(40)
        assert home.mapping.runner.statistics().moves - moves <= 2 * 40 / DEFAULT_TIMINGS.port_least_renewal


@each_protocol
async def test_a_gateway_that_started_again_is_found_out_and_asked_again(open_home: OpenHome, speaks: Gateway) -> None:
    """Nobody says so: it is looked at once a minute."""
    async with open_home(speaks) as home:
        await home.wait_state("mapped", SOON)
        await trio.sleep(10)
        home.router.reboot()
        assert home.open_port is None
        await home.wait_state("lost", DEFAULT_TIMINGS.port_watch)
        assert home.mapping.lease is not None  # peers hear of no change unless the next one differs
        await home.wait_state("mapped", SOON)
        assert home.open_port == Endpoint(DESK, PORT)


@each_protocol
async def test_a_doubt_makes_us_look_at_once_but_not_all_the_time(open_home: OpenHome, speaks: Gateway) -> None:
    async with open_home(speaks) as home:
        await home.wait_state("mapped", SOON)
        await trio.sleep(10)
        sent = 0

        def count(_: object) -> None:
            nonlocal sent
            sent += 1

        home.net.hosts["desk"].on_sent = count
        for _ in range(100):
            home.mapping.doubt()
            await trio.sleep(0.1)
        assert sent <= 2 * (10 / DEFAULT_TIMINGS.port_doubt_gap + 1)
        home.router.reboot()
        home.mapping.doubt()
        await home.wait_state("lost", DEFAULT_TIMINGS.port_doubt_gap + 0.1)


async def test_another_outer_address_is_another_lease(open_home: OpenHome) -> None:
    async with open_home(ALL) as home:
        await home.wait_state("mapped", SOON)
        home.router.change_address("26.0.0.77")
        home.mapping.doubt()
        await home.wait_state("lost", 3.0)
        await home.wait_state("mapped", SOON)
        assert home.mapping.lease is not None
        assert home.mapping.lease.external == Endpoint("26.0.0.77", PORT)


async def test_a_gateway_that_falls_silent_keeps_its_lease_until_the_end_of_it(open_home: OpenHome) -> None:
    async with open_home(Gateway(pcp=True, max_lease=200.0)) as home:
        await home.wait_state("mapped", SOON)
        home.speak(Gateway(pcp=True, lie=Lie.SILENT))
        assert await home.wait_state("renewing", 110) > 90
        assert home.mapping.lease is not None
        assert await home.wait_state("lost", 110) > 90
        await home.wait_state("unsupported", 20)
        assert home.mapping.lease is None


async def test_a_gateway_that_comes_back_in_time_renews_the_lease(open_home: OpenHome) -> None:
    async with open_home(Gateway(pcp=True, max_lease=200.0)) as home:
        await home.wait_state("mapped", SOON)
        home.speak(Gateway(pcp=True, lie=Lie.SILENT))
        await home.wait_state("renewing", 110)
        await trio.sleep(30)
        home.speak(Gateway(pcp=True))
        await home.wait_state("mapped", 40)


async def test_a_renewal_that_is_refused_loses_the_lease_at_once(open_home: OpenHome) -> None:
    async with open_home(Gateway(pcp=True, max_lease=100.0)) as home:
        await home.wait_state("mapped", SOON)
        home.speak(Gateway(pcp=True, lie=Lie.REFUSED))
        await home.wait_state("lost", 51)


@pytest.mark.parametrize("lie", [Lie.SILENT, Lie.GARBAGE, Lie.REFUSED])
async def test_a_useless_gateway_is_asked_ever_more_seldom(
    open_home: OpenHome, lie: Lie, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "tunnel.node.port_mapping_states")
    async with open_home(replace(ALL, lie=lie)) as home:
        for wait in (*DEFAULT_TIMINGS.port_retries, DEFAULT_TIMINGS.port_retries[-1]):
            await home.wait_state("unsupported", DEFAULT_TIMINGS.port_probe)
            assert await home.wait_state("probing", wait + 1) == pytest.approx(wait, abs=0.1)
        assert "pcp: " in home.mapping.status().note
    levels = [record.levelname for record in caplog.records if record.message == "no port mapping"]
    assert levels == ["INFO", *["DEBUG"] * len(DEFAULT_TIMINGS.port_retries)], "what does not change is told once"


async def test_leaving_a_gateway_that_says_nothing_takes_no_longer_than_it_may(open_home: OpenHome) -> None:
    async with open_home(Gateway(pcp=True)) as home:
        await home.wait_state("mapped", SOON)
        home.speak(Gateway(pcp=True, lie=Lie.SILENT))
        began = trio.current_time()
        await home.mapping.leave()
        assert trio.current_time() - began == pytest.approx(sum(DEFAULT_TIMINGS.port_waits))


async def test_leaving_while_it_is_asked_leaves_nothing_that_is_known_of(open_home: OpenHome) -> None:
    async with open_home(Gateway(upnp=True)) as home:
        await trio.sleep(0.5)
        assert home.state == "probing"
        await home.mapping.leave()
        await trio.sleep(10)
        assert home.open_port is None


async def test_elsewhere_the_next_gateway_is_asked_at_once(open_home: OpenHome) -> None:
    async with open_home(ALL) as home:
        await home.wait_state("mapped", SOON)
        home.net.move("desk", "office", "192.168.2.7")
        began = trio.current_time()
        home.mapping.note_network()
        await home.news.wait()
        assert (trio.current_time(), home.state, home.mapping.lease) == (began, "probing", None)
        await trio.sleep(0.1)
        assert home.state == "mapped"
        assert home.mapping.lease is not None
        assert home.mapping.lease.external == Endpoint("26.0.0.2", PORT)


async def test_a_change_that_leaves_the_gateway_is_none_for_the_mapping(open_home: OpenHome) -> None:
    """Our own TUN interface comes up, a container starts."""
    async with open_home(ALL) as home:
        await home.wait_state("mapped", SOON)
        moves = home.mapping.runner.statistics().moves
        home.mapping.note_network()
        await trio.sleep(1)
        assert (home.state, home.mapping.runner.statistics().moves) == ("mapped", moves)


async def test_a_change_makes_us_ask_again_where_nobody_opened_a_port(open_home: OpenHome) -> None:
    async with open_home(Gateway()) as home:
        await home.wait_state("unsupported", DEFAULT_TIMINGS.port_probe)
        home.speak(ALL)
        home.mapping.note_network()
        await home.wait_state("mapped", SOON)


async def test_without_a_gateway_nobody_is_asked(open_home: OpenHome) -> None:
    async with open_home(ALL) as home:
        home.net.move("desk", None, "26.0.0.9")
        home.mapping.note_network()
        await home.wait_state("unsupported", 0.1)
        assert home.mapping.status().note == "no gateway on the default route"


# What people are told


async def test_the_status_tells_protocol_endpoint_and_lease(open_home: OpenHome) -> None:
    async with open_home(replace(ALL, max_lease=600.0)) as home:
        assert home.mapping.status().state == "probing"
        await home.wait_state("mapped", SOON)
        told = home.mapping.status()
        assert (told.family, told.state, told.protocol) == ("ipv4", "mapped", PortProtocol.PCP)
        assert (told.gateway, told.external, told.note) == ("192.168.1.1", Endpoint(OUTSIDE, PORT), "")
        assert told.seconds_left == pytest.approx(600.0, abs=1)


async def test_a_permanent_mapping_has_no_seconds_left(open_home: OpenHome) -> None:
    async with open_home(Gateway(upnp=True, permanent_only=True)) as home:
        await home.wait_state("mapped", SOON)
        assert home.mapping.lease is not None
        assert home.mapping.lease.lifetime == math.inf
        assert home.mapping.status().seconds_left is None
        await home.mapping.leave()
        assert home.open_port is None


async def test_a_private_outer_address_is_told_as_what_it_is(open_home: OpenHome) -> None:
    async with open_home(Gateway(pcp=True, lie=Lie.PRIVATE_ADDRESS)) as home:
        await home.wait_state("mapped", SOON)
        assert "another NAT" in home.mapping.status().note


async def test_a_bug_costs_the_mapping_and_never_the_node(
    open_home: OpenHome, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(PcpClient, "holds_port", fail)
    async with open_home(Gateway(pcp=True)) as home:
        await home.wait_state("mapped", SOON)
        home.mapping.doubt()
        await trio.sleep(5)
        assert home.mapping.lease is None
        assert "bug" in home.mapping.status().note
        assert "ZeroDivisionError" in caplog.text
        await home.mapping.leave()
