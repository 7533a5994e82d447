"""What a node says of the NAT in front of it is what the topology has, or unknown: never anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from itertools import product

import pytest
import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation, Filtering, Hairpin, Mapping, NatReport, Udp
from tunnel.model.settings import NodeSettings
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.nat.allocation import PortSample
from tunnel.nat.behavior_discovery import SAMPLE_PATIENCE
from tunnel.nat.port_sampling import sample_ports
from tunnel.nat.stun_client import open_stun_client
from tunnel.nat.survey import SurveyResult
from tunnel.network.datagrams import DatagramSocket
from tunnel.network.nat64_resolver import Nat64Resolver
from tunnel.node.nat_discovery import NatDiscovery
from tunnel.server.stun_service import serve_stun
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.reachability.nat_chain import perfect_report
from tunnel.verify.reachability.topology import (
    Hairpinning,
    Host,
    Line,
    Nat,
    Router,
    Server,
    Topology,
    Unsolicited,
)
from tunnel.verify.reachability.topology import Udp as LetsOut
from tunnel.verify.simulation.internet.simulated_network import build_network
from tunnel.verify.simulation.runs.stun_liar import serve_lies

pytestmark = pytest.mark.no_cover  # whole runs: they would take three times as long

AT_ONCE = replace(DEFAULT_TIMINGS, discovery_delay=0.0)
ONE_ADDRESS = tuple(Endpoint("25.0.0.1", port) for port in (3478, 3479))
TWO_ADDRESSES = (*ONE_ADDRESS, *(Endpoint("25.0.0.2", port) for port in (3478, 3479)))
LIAR = Endpoint("25.0.0.9", 3478)
MAPPINGS = (Mapping.ENDPOINT_INDEPENDENT, Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT)
FILTERINGS = (Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
ALLOCATIONS = (Allocation.PRESERVING, Allocation.SEQUENTIAL, Allocation.RANDOM, Allocation.BLOCK)
DISCOVERED = 5.0
"""Seconds from the request to the end of behavior discovery, amply."""
DESK = Host(addresses=("192.168.1.2",), behind="home")


@dataclass
class Look:
    """What a node at the desk found out."""

    report: NatReport
    keepalive: float
    news: list[float]
    """When it learned more than the verdict, seconds after the start."""
    packets: int
    verdict_after: float
    samples: tuple[PortSample, ...] = ()


def look(
    routers: dict[str, Router],
    *,
    host: Host = DESK,
    stun: Sequence[Endpoint] = TWO_ADDRESSES,
    seconds: float = DISCOVERED,
    liar: bool = False,
    seed: int = 0,
    rate: float = 200.0,
) -> Look:
    """Run a server's STUN service and the NAT discovery of a node on the desk for so long."""

    async def run() -> Look:
        topology = Topology(hosts={"desk": host}, routers=routers, server=Server(stun=(*stun, LIAR)))
        async with open_memory_internet() as internet, trio.open_nursery() as nursery:
            net = build_network(internet, topology, seed=seed)
            server, desk = net.hosts["server"].world(), net.hosts["desk"].world()
            addresses = [await server.services.open_service_socket(endpoint) for endpoint in stun]
            nursery.start_soon(partial(serve_stun, addresses, rate_per_source=rate))
            nursery.start_soon(serve_lies, await server.datagrams.open_socket(LIAR))
            began, packets, news, verdicts = trio.current_time(), 0, list[float](), list[float]()

            def count(_: object) -> None:
                nonlocal packets
                packets += 1

            class News(Notifier):
                """Tells a verdict from what is learned after it."""

                known: SurveyResult | None = None

                def notify(self) -> None:
                    is_verdict, self.known = nat_discovery.verdict is not self.known, nat_discovery.verdict
                    (verdicts if is_verdict else news).append(trio.current_time() - began)
                    super().notify()

            net.hosts["desk"].on_sent = count
            socket = await desk.datagrams.open_socket(Endpoint("0.0.0.0", 0))
            nat_discovery = NatDiscovery(
                [socket],
                Nat64Resolver(desk.resolver, desk.interfaces),
                desk.interfaces,
                NodeSettings(stun=(str(LIAR),) if liar else (), default_stun=False, timings=AT_ONCE),
                datagrams=desk.datagrams,
                entropy=desk.entropy,
                news=News(),
            )
            nat_discovery.own = tuple(stun)
            nursery.start_soon(_read, socket, nat_discovery)
            nursery.start_soon(nat_discovery.run)
            nat_discovery.request()
            await trio.sleep(seconds)
            async with open_stun_client(desk.datagrams, desk.entropy) as stun_client:
                sampled = await sample_ports(stun_client, stun[0], 8, SAMPLE_PATIENCE)
            samples = tuple(one.sample for one in sampled)
            assert nat_discovery.result is not None
            found = Look(nat_discovery.result.report, nat_discovery.keepalive, news, packets, verdicts[0], samples)
            nursery.cancel_scope.cancel()
        return found

    return trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


async def _read(socket: DatagramSocket, nat_discovery: NatDiscovery) -> None:
    while True:
        for datagram, remote in await socket.receive_batch():
            nat_discovery.handle_untrusted(0, datagram, remote)


def home(nat: Nat | None, **details: object) -> dict[str, Router]:
    """One router."""
    return {"home": replace(Router(address="26.0.0.1", inner="192.168.1.1", nat=nat), **details)}  # type: ignore[arg-type]


def truth_of(nat: Nat) -> tuple[Enum, ...]:
    """In the order of `said`."""
    return said(perfect_report([*home(nat).values()]))


def said(report: NatReport) -> tuple[Enum, ...]:
    return report.mapping, report.filtering, report.allocation, report.hairpin


@pytest.mark.parametrize("filtering", FILTERINGS, ids=lambda word: word.value)
@pytest.mark.parametrize("mapping", MAPPINGS, ids=lambda word: word.value)
def test_every_nat_is_named_as_it_is(mapping: Mapping, filtering: Filtering) -> None:
    """With two addresses all is known, but for a hairpin that a filter hides behind a mapping that depends on peers."""
    for allocation, hairpinning in product(ALLOCATIONS, Hairpinning):
        nat = Nat(
            mapping=mapping,
            filtering=filtering,
            allocation=allocation,
            hairpinning=hairpinning,
            step=2,
            foreign_load=20.0,
        )
        found = look(home(nat))
        *rest, hairpin = said(found.report)
        *true, true_hairpin = truth_of(nat)
        assert rest == true, nat
        is_hidden = mapping is not Mapping.ENDPOINT_INDEPENDENT and filtering is not Filtering.ENDPOINT_INDEPENDENT
        assert hairpin is true_hairpin or (is_hidden and hairpin is Hairpin.UNKNOWN), nat
        assert found.verdict_after < 0.15
        assert len(found.news) == 1
        assert found.news[0] < 3.0


@pytest.mark.parametrize("unsolicited", [Unsolicited.RESET, Unsolicited.DENY, Unsolicited.TRACK])
def test_what_a_nat_does_with_strangers_misleads_nobody(unsolicited: Unsolicited) -> None:
    for mapping, filtering in product(MAPPINGS, FILTERINGS):
        nat = Nat(mapping=mapping, filtering=filtering, allocation=Allocation.BLOCK, unsolicited=unsolicited)
        for words in zip(said(look(home(nat)).report), truth_of(nat), strict=True):
            assert words[0] is words[1] or words[0] is Hairpin.UNKNOWN, nat


def test_one_address_says_less_and_nothing_wrong() -> None:
    """It cannot tell an address-dependent mapping from an endpoint-independent one: that alone it takes for easy."""
    for mapping, filtering, hairpinning in product(MAPPINGS, FILTERINGS, Hairpinning):
        nat = Nat(mapping=mapping, filtering=filtering, allocation=Allocation.RANDOM, hairpinning=hairpinning)
        report = look(home(nat), stun=ONE_ADDRESS).report
        is_port_dependent = filtering is Filtering.ADDRESS_AND_PORT_DEPENDENT
        assert report.filtering is (filtering if is_port_dependent else Filtering.UNKNOWN), nat
        assert report.allocation is Allocation.RANDOM
        assert report.hairpin in (truth_of(nat)[3], Hairpin.UNKNOWN), nat
        assert report.mapping is (
            Mapping.DEPENDENT if mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT else Mapping.ENDPOINT_INDEPENDENT
        )


def test_a_liar_beside_our_server_changes_no_word() -> None:
    for mapping, allocation in product(MAPPINGS, ALLOCATIONS):
        nat = Nat(mapping=mapping, allocation=allocation, hairpinning=Hairpinning.EXTERNAL_SOURCE)
        report = look(home(nat), liar=True).report
        assert report.is_hard == (mapping is not Mapping.ENDPOINT_INDEPENDENT), nat
        assert report.filtering is nat.filtering, nat
        assert report.allocation is allocation, nat
        assert report.hairpin in (Hairpin.YES, Hairpin.UNKNOWN), nat


def test_a_counters_step_and_load_are_told() -> None:
    nat = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.SEQUENTIAL, step=3, foreign_load=60.0)
    loads = []
    for seed in range(10):
        report = look(home(nat), seed=seed).report
        assert (report.allocation, report.step) == (Allocation.SEQUENTIAL, 3)
        loads.append(report.load)
    assert sum(loads) / len(loads) == pytest.approx(60.0, rel=0.25)


@pytest.mark.parametrize("mapping", MAPPINGS, ids=lambda word: word.value)
def test_a_counter_that_serves_us_alone_bears_no_load(mapping: Mapping) -> None:
    """Our own tests take ports too; up to two of them a second may be counted as those of others."""
    report = look(home(Nat(mapping=mapping, allocation=Allocation.SEQUENTIAL))).report
    assert (report.allocation, report.step) == (Allocation.SEQUENTIAL, 1)
    assert report.load <= 2.0


def test_a_block_is_told_with_its_ends() -> None:
    """Or nearly so: what is probed in a punch is most of it, and little else."""
    for size in (256, 512, 2048):
        nat = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.BLOCK, block_size=size)
        for seed in range(5):
            found = look(home(nat), seed=seed)
            assert found.report.block is not None
            first, last = found.report.block
            within = [one for one in found.samples if first <= one.mapped.port <= last]
            assert len(within) >= len(found.samples) - 2, (size, seed)
            assert last - first < 2.5 * size


def test_samples_at_the_time_of_a_punch_come_in_order_and_quickly() -> None:
    nat = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.SEQUENTIAL, step=1)
    samples = look(home(nat)).samples
    ports = [one.mapped.port for one in samples]
    assert len(ports) == 8
    assert [port - ports[0] for port in ports] == list(range(8))
    assert samples[-1].at - samples[0].at < 0.2


def test_without_an_answer_there_are_no_samples() -> None:
    assert look(home(Nat(), udp=LetsOut.BLOCKED)).samples == ()


@pytest.mark.parametrize(
    ("filtering", "told"),
    [
        (None, Filtering.ENDPOINT_INDEPENDENT),
        (Filtering.ADDRESS_DEPENDENT, Filtering.ADDRESS_DEPENDENT),
        (Filtering.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT),
    ],
)
def test_a_public_machine_learns_whether_a_firewall_stands_before_it(
    filtering: Filtering | None, told: Filtering
) -> None:
    """Without a firewall it is as with one that lets in every remote that we have sent to."""
    address = "26.0.0.7"
    host = Host(addresses=(address,), behind="home" if filtering else None)
    routers = home(None, filtering6=filtering) if filtering else {}
    report = look(routers, host=host).report
    assert (report.mapping, report.filtering, report.hairpin) == (Mapping.NONE, told, Hairpin.UNKNOWN)


def test_two_nats_in_a_row_are_named_as_the_harder_of_both() -> None:
    inner = Router(address="100.64.0.2", inner="192.168.1.1", behind="carrier", nat=Nat())
    outer = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.BLOCK)
    routers = {"carrier": Router(address="26.0.0.1", inner="100.64.0.1", nat=outer), "home": inner}
    report = look(routers).report
    assert said(report)[:3] == truth_of(outer)[:3]


def test_without_udp_nothing_is_asked_again() -> None:
    found = look(home(Nat(), udp=LetsOut.BLOCKED), seconds=10.0)
    assert found.report == NatReport(udp=Udp.BLOCKED)
    assert found.news == []


def test_a_server_that_is_tired_of_us_makes_no_filter() -> None:
    """A rate limit drops questions: what is not answered then is not known, or was seen before."""
    for rate in (10.0, 20.0, 40.0):
        for filtering in FILTERINGS:
            nat = Nat(filtering=filtering)
            assert look(home(nat), rate=rate).report.filtering in (filtering, Filtering.UNKNOWN)


@pytest.mark.parametrize("seed", range(6))
def test_a_lossy_line_does_not_make_a_filter(seed: int) -> None:
    """A tenth of all packets is lost each way."""
    host = replace(DESK, line=Line(loss_up=0.1, loss_down=0.1))
    nat = Nat(filtering=Filtering.ENDPOINT_INDEPENDENT)
    report = look(home(nat), host=host, seed=seed).report
    assert report.filtering in (Filtering.ENDPOINT_INDEPENDENT, Filtering.UNKNOWN)


@pytest.mark.parametrize(("lifetime", "told"), [(20.0, 18.0), (65.0, 58.0), (300.0, 178.0)])
def test_the_keepalive_comes_to_follow_the_nat(lifetime: float, told: float) -> None:
    found = look(home(Nat(lifetime=lifetime)), seconds=200.0)
    assert found.report.lifetime == told
    assert found.keepalive == told / 2 if told < 100.0 else found.keepalive == DEFAULT_TIMINGS.keepalive_most


def test_an_idle_day_costs_few_packets() -> None:
    """Beside the keepalives of the announced mapping, which grow rare."""
    found = look(home(Nat(lifetime=300.0)), seconds=3600.0)
    surveys = 3600.0 / DEFAULT_TIMINGS.survey_refresh * len(TWO_ADDRESSES)
    keepalives = 200.0 / DEFAULT_TIMINGS.keepalive + 3600.0 / DEFAULT_TIMINGS.keepalive_most
    assert found.packets < surveys + keepalives + 40 + 40
