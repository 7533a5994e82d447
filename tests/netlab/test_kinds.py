"""Each kind of router, judged from inside and outside by what it does to packets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.netlab import SERVER_ADDRESSES, Host, Kind, Lab

if TYPE_CHECKING:
    from tests.netlab.conftest import Agent

pytestmark = pytest.mark.netlab

PRIMARY = Endpoint(SERVER_ADDRESSES[0], 3478)
OTHER_BOTH = Endpoint(SERVER_ADDRESSES[1], 3479)
SOON = 5.0
SILENCE = 0.3

INDEPENDENT = "endpoint-independent"
BY_ADDRESS = "address-dependent"
BY_BOTH = "address-and-port-dependent"

BEHAVIOURS = {
    Kind.PUBLIC: (INDEPENDENT, INDEPENDENT, True),
    Kind.PORT_PRESERVING: (INDEPENDENT, BY_BOTH, True),
    Kind.SLOPPY: (INDEPENDENT, BY_BOTH, True),
    Kind.FULL_CONE: (INDEPENDENT, INDEPENDENT, True),
    Kind.ADDR_RESTRICTED: (INDEPENDENT, BY_ADDRESS, True),
    Kind.SYMMETRIC: (BY_BOTH, BY_BOTH, False),
    Kind.DOUBLE: (INDEPENDENT, BY_BOTH, True),
}


@pytest.mark.parametrize("kind", BEHAVIOURS, ids=lambda kind: kind.value)
def test_a_site_behaves_as_its_kind_says(lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind) -> None:
    """Mapping, filtering and port preservation, found the way RFC 5780 does."""
    site = lab.add_site("home", kind)
    assert agent_on(site.host).behaviour() == BEHAVIOURS[kind]


@pytest.mark.parametrize("kind", BEHAVIOURS, ids=lambda kind: kind.value)
def test_a_site_is_seen_under_its_public_address(lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind) -> None:
    site = lab.add_site("home", kind)
    agent = agent_on(site.host)
    agent.open()
    seen = agent.seen_by(PRIMARY)
    assert seen is not None
    assert seen.host == site.wan == "25.1.0.1"


@pytest.mark.parametrize(("kind", "survives"), [(Kind.PORT_PRESERVING, True), (Kind.SLOPPY, False)])
def test_an_unsolicited_packet_breaks_the_mapping_of_a_sloppy_router_only(
    lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind, survives: bool
) -> None:
    """Who punches first at a router that accepts WAN input loses the port for that remote."""
    agent = agent_on(lab.add_site("home", kind).host)
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
    sites = lab.add_site("here"), lab.add_site("there", Kind.SLOPPY)
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
    site = lab.add_site("home", kind, hosts=2)
    first, second = agent_on(site.hosts[0]), agent_on(site.hosts[1])
    for agent in (first, second):
        agent.open(5000)
    assert first.seen_by(PRIMARY) == first.seen_by(OTHER_BOTH) == Endpoint(site.wan, 5000)
    other = second.seen_by(PRIMARY)
    assert other is not None
    assert other.port != 5000
    assert second.seen_by(OTHER_BOTH) == other


def test_a_learnt_mapping_ends_with_its_lifetime(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    agent = agent_on(lab.add_site("home", Kind.FULL_CONE, lifetime=1).host)
    agent.open()
    assert agent.seen_by(PRIMARY, after=0.2, within=1.0) is not None
    assert agent.seen_by(PRIMARY, after=1.8, within=2.2) is None


@pytest.mark.parametrize("kind", [Kind.PORT_PRESERVING, Kind.FULL_CONE], ids=lambda kind: kind.value)
def test_two_hosts_behind_one_router_meet_on_its_lan_but_not_by_hairpin(
    lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind
) -> None:
    site = lab.add_site("home", kind, hosts=2)
    first, second = agent_on(site.hosts[0]), agent_on(site.hosts[1])
    first.open(5000)
    second.open(6000)
    assert first.seen_by(PRIMARY) == Endpoint(site.wan, 5000)
    assert second.seen_by(PRIMARY) == Endpoint(site.wan, 6000)
    first.send(Endpoint(site.wan, 6000))
    assert second.hear(SILENCE) is None
    first.send(Endpoint(site.hosts[1].address, 6000))
    assert second.hear() == ("hello", Endpoint(site.hosts[0].address, 5000))


@pytest.mark.parametrize("kind", [Kind.UDP_BLOCKED, Kind.WEB_ONLY], ids=lambda kind: kind.value)
def test_no_datagram_leaves_a_site_without_udp(lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind) -> None:
    agent = agent_on(lab.add_site("home", kind).host)
    agent.open()
    assert agent.seen_by(PRIMARY, within=SILENCE) is None
    assert lab.counters()["home"].sent.packets == 0


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
    agent = agent_on(lab.add_site("home", kind).host)
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
    ],
)
def test_a_simple_punch_opens_what_theory_says(
    lab: Lab, agent_on: Callable[[Host], Agent], here: Kind, there: Kind, direct: bool
) -> None:
    """Both send to where the server sees the other, and answer the source of what they hear: the answer proves it."""
    agents = agent_on(lab.add_site("here", here).host), agent_on(lab.add_site("there", there).host)
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
