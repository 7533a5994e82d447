"""Each kind of router, judged from inside and outside by what it does to packets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.verify.netlab.conftest import Agent, open_echoing_lab

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Hairpin, Udp
from tunnel.verify.netlab import SERVER_ADDRESSES, Host, Kind, Lab, Site
from tunnel.verify.netlab.router_rules import SEQUENTIAL_PORTS

pytestmark = pytest.mark.netlab

PRIMARY = Endpoint(SERVER_ADDRESSES[0], 3478)
OTHER_BOTH = Endpoint(SERVER_ADDRESSES[1], 3479)
SOON = 5.0
SILENCE = 0.3

WITH_UDP = [kind for kind in Kind if kind.has_ipv4 and kind.truth.udp is Udp.OPEN]
HAIRPIN = [kind for kind in Kind if kind.can_hairpin]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One for all tests here: each has sites of its own, or leaves no state behind."""
    with open_echoing_lab() as lab:
        yield lab


def fresh_site(lab: Lab, kind: Kind = Kind.PORT_PRESERVING, **details: Any) -> Site:
    """A site that no other test uses."""
    return lab.add_site(f"site{len(lab.sites)}", kind, **details)


@pytest.mark.parametrize("kind", WITH_UDP, ids=lambda kind: kind.value)
def test_a_site_behaves_as_its_truth_says(lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind) -> None:
    """Mapping, filtering and allocation, found the way RFC 5780 does; and the address under which it is seen."""
    site = fresh_site(lab, kind)
    agent = agent_on(site.host)
    assert agent.behavior() == (kind.truth.mapping, kind.truth.filtering, kind.truth.allocation)
    agent.open()
    seen = agent.seen_by(PRIMARY)
    assert seen is not None
    assert seen.host == (site.wan if kind.hides_hosts else site.host.address)
    assert seen.host.startswith(f"25.{site.number}.")


@pytest.mark.parametrize("kind", HAIRPIN, ids=lambda kind: kind.value)
@pytest.mark.parametrize("hairpin", [False, True], ids=["without", "with"])
def test_two_hosts_meet_at_the_public_address_only_with_hairpin(
    lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind, hairpin: bool
) -> None:
    """Both send, since an inner router may filter; and each is seen under the public address, not its private one."""
    site = fresh_site(lab, kind, hosts=2, hairpin=hairpin)
    assert site.spec.truth.hairpin is (Hairpin.YES if hairpin else Hairpin.NO)
    agents = [agent_on(host) for host in site.hosts]
    ends = [Endpoint(site.wan, agent.open(port)) for agent, port in zip(agents, (5000, 6000), strict=True)]
    assert [agent.seen_by(PRIMARY) for agent in agents] == ends
    agents[0].send(ends[1], "first")
    agents[1].send(ends[0], "second")
    agents[0].send(ends[1], "third")
    assert agents[0].hear(SOON if hairpin else SILENCE) == (("second", ends[1]) if hairpin else None)
    heard = set(iter(lambda: agents[1].hear(SILENCE), None))
    assert (("third", ends[0]) in heard) is hairpin


@pytest.mark.parametrize("kind", HAIRPIN, ids=lambda kind: kind.value)
def test_hairpin_changes_nothing_else(lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind) -> None:
    site = fresh_site(lab, kind, hairpin=True)
    assert agent_on(site.host).behavior() == (kind.truth.mapping, kind.truth.filtering, kind.truth.allocation)


def test_a_counting_router_counts_for_all_its_hosts_and_lets_streams_be(
    lab: Lab, agent_on: Callable[[Host], Agent]
) -> None:
    """What one host opens is foreign load to the other."""
    site = fresh_site(lab, Kind.SYMMETRIC_SEQUENTIAL, hosts=2)
    first, second = (agent_on(host) for host in site.hosts)
    ports = []
    for agent in (first, second, first):
        agent.open()
        seen = agent.seen_by(PRIMARY)
        assert seen is not None
        ports.append(seen.port)
        assert agent.say(Endpoint(SERVER_ADDRESSES[0], 443), "x") == "x"
    assert ports == [SEQUENTIAL_PORTS[i] for i in range(3)]


@pytest.mark.parametrize(
    ("kind", "between"),
    [(Kind.DOUBLE, "10.64"), (Kind.CGNAT, "100.64"), (Kind.CGNAT_SYMMETRIC, "100.64")],
    ids=lambda value: getattr(value, "value", value),
)
def test_between_two_routers_lies_a_home_s_or_a_carrier_s_network(lab: Lab, kind: Kind, between: str) -> None:
    site = fresh_site(lab, kind)
    inner = Host("inner", site.routers[1], "")
    assert f"via {between}.{site.number}.1 dev wan" in lab.run(inner, ["ip", "route", "show", "default"])


def test_hosts_behind_a_firewall_have_addresses_of_their_own_even_when_their_router_moves(
    lab: Lab, agent_on: Callable[[Host], Agent]
) -> None:
    site = fresh_site(lab, Kind.FIREWALL, hosts=2)
    agents = [agent_on(host) for host in site.hosts]
    ends = [Endpoint(host.address, agent.open()) for host, agent in zip(site.hosts, agents, strict=True)]
    assert len({end.host for end in ends}) == 2
    assert [agent.seen_by(PRIMARY) for agent in agents] == ends
    lab.change_wan(site)
    assert [agent.seen_by(PRIMARY) for agent in agents] == ends


@pytest.mark.parametrize(("kind", "survives"), [(Kind.PORT_PRESERVING, True), (Kind.SLOPPY, False)])
def test_an_unsolicited_packet_breaks_the_mapping_of_a_sloppy_router_only(
    lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind, survives: bool
) -> None:
    """The side that punches first at a router that accepts WAN input loses the port for that remote."""
    agent = agent_on(fresh_site(lab, kind).host)
    port = agent.open()
    assert not agent.admits(OTHER_BOTH, after_asking=PRIMARY)
    seen = agent.seen_by(OTHER_BOTH)
    assert seen is not None
    assert (seen.port == port) is survives


@pytest.mark.parametrize(("ttl", "survives"), [(2, True), (64, False)])
def test_a_first_packet_that_dies_on_the_way_does_not_poison_a_sloppy_router(
    lab: Lab, agent_on: Callable[[Host], Agent], ttl: int, survives: bool
) -> None:
    """With a TTL of 2 it opens its own router and ends in the internet."""
    sites = fresh_site(lab), fresh_site(lab, Kind.SLOPPY)
    here, there = (agent_on(site.host) for site in sites)
    ends = [Endpoint(site.wan, agent.open(5000)) for site, agent in zip(sites, (here, there), strict=True)]
    assert [here.seen_by(PRIMARY), there.seen_by(PRIMARY)] == ends
    here.send(ends[1], ttl=ttl)
    assert there.seen_by(PRIMARY) == ends[1]
    there.send(ends[0])
    assert (here.hear(SOON if survives else SILENCE) == ("hello", ends[1])) is survives


@pytest.mark.parametrize("kind", [Kind.FULL_CONE, Kind.ADDR_RESTRICTED], ids=lambda kind: kind.value)
def test_two_hosts_with_one_local_port_keep_a_mapping_each(
    lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind
) -> None:
    """The second gets another port, and the same one for every destination; answers find the right host."""
    site = fresh_site(lab, kind, hosts=2)
    first, second = agent_on(site.hosts[0]), agent_on(site.hosts[1])
    for agent in (first, second):
        agent.open(5000)
    assert first.seen_by(PRIMARY) == first.seen_by(OTHER_BOTH) == Endpoint(site.wan, 5000)
    other = second.seen_by(PRIMARY)
    assert other is not None
    assert other.port != 5000
    assert second.seen_by(OTHER_BOTH) == other


def test_a_learned_mapping_ends_with_its_lifetime(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    agent = agent_on(fresh_site(lab, Kind.FULL_CONE, lifetime=1).host)
    agent.open()
    assert agent.seen_by(PRIMARY, after=0.2, within=1.0) is not None
    assert agent.seen_by(PRIMARY, after=1.8, within=2.2) is None


def test_two_hosts_behind_one_router_meet_on_its_lan(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    site = fresh_site(lab, hosts=2)
    first, second = agent_on(site.hosts[0]), agent_on(site.hosts[1])
    first.open(5000)
    second.open(6000)
    first.send(Endpoint(site.hosts[1].address, 6000))
    assert second.hear() == ("hello", Endpoint(site.hosts[0].address, 5000))


@pytest.mark.parametrize("kind", [Kind.UDP_BLOCKED, Kind.WEB_ONLY], ids=lambda kind: kind.value)
def test_no_datagram_leaves_a_site_without_udp(lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind) -> None:
    site = fresh_site(lab, kind)
    agent = agent_on(site.host)
    agent.open()
    assert agent.seen_by(PRIMARY, within=SILENCE) is None
    assert lab.counters()[site.name].sent.packets == 0


@pytest.mark.parametrize(
    ("kind", "port", "first", "answer"),
    [
        (Kind.UDP_BLOCKED, 443, "SSH-2.0-x", "SSH-2.0-x"),
        (Kind.UDP_BLOCKED, 8080, "SSH-2.0-x", "SSH-2.0-x"),
        (Kind.UDP_BLOCKED, 22, "GET /", "silence"),
        (Kind.WEB_ONLY, 443, "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n"),
        (Kind.WEB_ONLY, 443, "\x16\x03\x01\x00\x05hello", "\x16\x03\x01\x00\x05hello"),
        (Kind.WEB_ONLY, 8080, "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n"),
        (Kind.WEB_ONLY, 443, "SSH-2.0-x", "reset"),
        (Kind.WEB_ONLY, 443, "GE", "reset"),
        (Kind.WEB_ONLY, 8080, "\x17\x03\x03\x00\x05hello", "reset"),
        (Kind.WEB_ONLY, 22, "GET /", "silence"),
    ],
)
def test_a_strict_site_lets_out_only_the_streams_it_knows(
    lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind, port: int, first: str, answer: str
) -> None:
    agent = agent_on(fresh_site(lab, kind).host)
    patience = SILENCE if answer == "silence" else SOON
    assert agent.say(Endpoint(SERVER_ADDRESSES[0], port), first, patience) == answer


@pytest.mark.parametrize(
    ("here", "there", "direct"),
    [
        (Kind.PORT_PRESERVING, Kind.PORT_PRESERVING, True),
        (Kind.PORT_PRESERVING, Kind.DOUBLE, True),
        (Kind.SYMMETRIC, Kind.FULL_CONE, True),
        (Kind.SYMMETRIC, Kind.ADDR_RESTRICTED, True),
        (Kind.SYMMETRIC, Kind.PORT_PRESERVING, False),
        (Kind.SYMMETRIC, Kind.SYMMETRIC, False),
        (Kind.SLOPPY, Kind.SYMMETRIC, False),
        (Kind.FIREWALL, Kind.CGNAT, True),
        (Kind.FIREWALL, Kind.SYMMETRIC_SEQUENTIAL, False),
        (Kind.CGNAT, Kind.CGNAT_SYMMETRIC, False),
    ],
)
def test_a_simple_punch_opens_what_theory_says(
    lab: Lab, agent_on: Callable[[Host], Agent], here: Kind, there: Kind, direct: bool
) -> None:
    """Both send to where the server sees the other, and answer the source of what they hear: the answer proves it."""
    agents = agent_on(fresh_site(lab, here).host), agent_on(fresh_site(lab, there).host)
    seen = []
    for agent in agents:
        agent.open()
        seen.append(agent.seen_by(PRIMARY))
    first, second = seen
    assert first is not None
    assert second is not None
    for _ in range(2):
        agents[0].send(second, "hello")
        agents[1].send(first, "hello")
    answered = False
    ends = time.monotonic() + (SOON if direct else SILENCE)
    while not answered and time.monotonic() < ends:
        for agent in agents:
            match agent.hear(0.05):
                case ("hello", source):
                    agent.send(source, "answer")
                case ("answer", _):
                    answered = True
    assert answered is direct
