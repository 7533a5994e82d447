"""Ports opened by real gateways: miniupnpd in each protocol, and gateways that are of no use."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
from tests.journeys.conftest import BUSY, OpenLabPrograms
from tests.journeys.host_tool import PATIENCE
from tests.verify.netlab.conftest import SILENCE, Agent

from tunnel.model.endpoint import Endpoint
from tunnel.verify.netlab import Gateway, Host, Kind, Lab, Site, SiteSpec
from tunnel.verify.netlab.gateways import GatewayProgram
from tunnel.verify.netlab.programs import LabPrograms

pytestmark = pytest.mark.netlab

HOST_TOOL = Path(__file__).with_name("host_tool.py")
HOSTILE = Path(__file__).with_name("hostile_gateway.py")
LEASE = 10
"""Seconds; miniupnpd gives no shorter one."""


# miniupnpd, by one protocol at a time


def each_protocol(first_port: int) -> pytest.MarkDecorator:
    """By each, with a port of its own."""
    cases = [
        ("pcp", first_port),
        ("nat-pmp", first_port + 1),
        pytest.param("upnp", first_port + 2, marks=pytest.mark.upnp),
    ]
    return pytest.mark.parametrize(("protocol", "port"), cases)


@dataclass
class Holding:
    """A process that keeps one mapping; `told` are its lines so far."""

    process: subprocess.Popen[bytes]
    told: list[dict[str, Any]]

    def wait(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next line of which this holds."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(json.loads(line))
            if holds(self.told[-1]):
                return self.told[-1]
        raise AssertionError(f"it ended, and had told {self.told}")

    def end(self) -> None:
        """It gives the mapping back first."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        assert self.process.stdout is not None
        self.process.stdout.close()


def hold(lab: Lab, host: Host, *arguments: object) -> Holding:
    argv = [sys.executable, str(HOST_TOOL), "hold", *map(str, arguments)]
    return Holding(lab.popen(host, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE), [])


@dataclass(frozen=True, slots=True)
class Street:
    """A home whose router maps ports, and a stranger outside."""

    lab: Lab
    home: Site
    gateway: GatewayProgram
    stranger: Agent
    inside: Agent

    def knocks(self, port: int) -> bool:
        """Whether a stranger's packet comes in, from a fresh port each time: routers go on passing what they know."""
        self.stranger.open()
        self.stranger.send(Endpoint(self.home.wan, port))
        return self.inside.hear(SILENCE) is not None


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    with Lab(SiteSpec("home", Kind.SYMMETRIC)) as lab:
        home = lab.sites["home"]
        gateway = lab.open_gateway(home, *Gateway)
        stranger, inside = Agent(lab, lab.server), Agent(lab, home.host)
        yield Street(lab, home, gateway, stranger, inside)
        stranger.close()
        inside.close()


@each_protocol(41000)
def test_a_port_stays_open_beyond_its_first_lease_and_is_closed_at_the_end(
    street: Street, protocol: str, port: int
) -> None:
    street.inside.open(port)
    with hold(street.lab, street.home.host, protocol, port, LEASE) as holding:
        told = holding.wait(lambda told: told["state"] == "mapped")
        mapped = time.monotonic()
        assert (told["protocol"], told["external"]) == (protocol, f"{street.home.wan}:{port}")
        assert 0 < told["left"] <= LEASE
        assert street.knocks(port)
        while time.monotonic() < mapped + LEASE + 2:
            holding.wait(lambda told: told["state"] == "mapped")
        assert [told for told in holding.told if told["state"] == "lost"] == []
        assert street.knocks(port)
        holding.end()
        assert not street.knocks(port)


@each_protocol(42000)
def test_a_gateway_that_starts_again_is_asked_again(street: Street, protocol: str, port: int) -> None:
    """By its epoch, or by what it says of the port: two seconds until we look, some more until it answers."""
    street.inside.open(port)
    with hold(street.lab, street.home.host, protocol, port, 3600) as holding:
        holding.wait(lambda told: told["state"] == "mapped")
        time.sleep(5)  # epochs are whole seconds, and may be two late
        street.gateway.stop()
        forget_mappings(street)
        assert not street.knocks(port)
        street.gateway.start()
        holding.wait(lambda told: told["state"] == "lost")
        again = holding.wait(lambda told: told["state"] == "mapped")
        assert again["external"] == f"{street.home.wan}:{port}"
        assert street.knocks(port)


def forget_mappings(street: Street) -> None:
    """As in a power cut: rules and leases are gone."""
    for kept in street.gateway.folder.glob("*.leases"):
        kept.write_text("")
    for chain in ("upnp_prerouting", "upnp_forward"):
        street.lab.run(router_of(street.home), ["nft", f"flush chain inet filter {chain}"])


def router_of(site: Site) -> Host:
    return Host("router", site.edge, site.wan)


# An IPv6 firewall

PINHOLE = 43000


def test_a_pinhole_lets_strangers_in_until_it_is_shut() -> None:
    with Lab(SiteSpec("home", ipv6=True)) as lab:
        home = lab.sites["home"]
        lab.open_gateway(home, Gateway.PCP)
        lab.run(router_of(home), ["nft", "insert rule inet filter forward jump upnp_forward"])
        inside, stranger = Agent(lab, home.host), Agent(lab, lab.server)
        assert home.host.address_v6 is not None
        door = Endpoint(home.host.address_v6, PINHOLE)
        inside.open(PINHOLE, ipv6=True)

        def knocks() -> bool:
            stranger.open(ipv6=True)
            stranger.send(door)
            return inside.hear(SILENCE) is not None

        assert not knocks()
        with hold(lab, home.host, "pcp", PINHOLE, LEASE, "ipv6") as holding:
            told = holding.wait(lambda told: told["state"] == "mapped")
            assert (told["protocol"], told["external"]) == ("pcp", str(door))
            assert knocks()
            holding.end()
            assert not knocks()
        inside.close()
        stranger.close()


# The real node


@pytest.fixture(scope="module")
def house(open_lab_programs: OpenLabPrograms) -> tuple[Lab, LabPrograms]:
    """A desk behind a port-restricted NAT, a phone behind a symmetric one; homes whose gateways differ."""
    lab, lab_programs = open_lab_programs(
        SiteSpec("office"),
        SiteSpec("hotel", Kind.SYMMETRIC),
        SiteSpec("upnp", Kind.SYMMETRIC),
        SiteSpec("pcp", Kind.SYMMETRIC),
        *(SiteSpec(mood, Kind.PORT_PRESERVING) for mood in MOODS),
    )
    lab.open_gateway(lab.sites["upnp"], Gateway.UPNP)
    lab.open_gateway(lab.sites["pcp"], Gateway.PCP)
    lab_programs.start_node(lab.sites["office"].host, "desk")
    lab_programs.start_node(lab.sites["hotel"].host, "phone")
    return lab, lab_programs


MOODS = ("silent", "garbage", "lying")


@pytest.mark.parametrize("protocol", [pytest.param("upnp", marks=pytest.mark.upnp), "pcp"])
def test_a_node_opens_its_port_meets_its_peer_and_closes_it_on_sigterm(
    house: tuple[Lab, LabPrograms], protocol: str
) -> None:
    """Two symmetric NATs: without that port nobody could guess where the other is."""
    lab, lab_programs = house
    site = lab.sites[protocol]
    lab_programs.start_node(site.host, protocol)
    status = lab_programs.wait_status(
        protocol, lambda status: status["node"]["port_mappings"][0]["state"] == "mapped", "a port mapping"
    )
    assert status["node"]["nat"]["port_mapping"] == protocol
    ipv4 = status["node"]["port_mappings"][0]
    assert (ipv4["family"], ipv4["protocol"]) == ("ipv4", protocol)
    host, _, port = ipv4["external"].partition(":")
    assert host == site.wan
    assert mapped_ports(lab, site) == [port]
    lab_programs.start_ping("phone", protocol, count=2).finish()
    lab_programs.wait_peer(
        "phone",
        protocol,
        lambda entry: entry["path"] is not None and entry["path"]["kind"] == "direct",
        "a direct path",
    )
    lab_programs.stop_node(protocol)
    assert lab_programs.nodes[protocol].process.returncode == 0
    assert mapped_ports(lab, site) == []


def mapped_ports(lab: Lab, site: Site) -> list[str]:
    """External UDP ports that the router leads inwards on request."""
    rules = lab.run(router_of(site), ["nft", "list", "chain", "inet", "filter", "upnp_prerouting"])
    return [words[words.index("dport") + 1] for words in map(str.split, rules.splitlines()) if "dport" in words]


def test_a_node_that_was_told_so_opens_no_port(house: tuple[Lab, LabPrograms]) -> None:
    lab, lab_programs = house
    site = lab.sites["pcp"]
    lab_programs.start_node(site.host, "shy", "--no-port-mapping")
    status = lab_programs.wait_status("shy", is_announced, "an acknowledged announcement")
    assert status["node"]["port_mappings"] == []
    assert mapped_ports(lab, site) == []
    lab_programs.stop_node("shy")


# Gateways of no use


@pytest.mark.parametrize("mood", MOODS)
def test_a_gateway_of_no_use_delays_nothing(house: tuple[Lab, LabPrograms], mood: str) -> None:
    """The survey has three seconds at most; announcement and path do not wait for the gateway either."""
    lab, lab_programs = house
    site = lab.sites[mood]
    router = router_of(site)
    lab.run(router, ["nft", "insert rule inet filter input iifname lan ip daddr 239.255.255.250 accept"])
    gateway = lab.popen(
        router, [sys.executable, "-I", "-S", str(HOSTILE), f"{site.lan}.1", mood], stdout=subprocess.PIPE
    )
    assert gateway.stdout is not None
    with gateway.stdout as said:
        assert said.readline() == b"ready\n"
    lab_programs.start_node(site.host, mood)
    lab_programs.wait_status(mood, is_registered, "a link to the server")
    registered = time.monotonic()
    status = lab_programs.wait_status(mood, is_announced, "an acknowledged announcement with a verdict")
    assert time.monotonic() - registered < 3 + BUSY
    assert status["node"]["nat"]["mapping"] == "endpoint_independent"
    lab_programs.start_ping("desk", mood, count=2).finish()
    lab_programs.wait_peer(
        "desk", mood, lambda entry: entry["path"] is not None and entry["path"]["kind"] == "direct", "a direct path"
    )
    status = lab_programs.wait_status(mood, lambda status: asked_in_vain(status, mood), "the end of asking")
    assert gateway.poll() is None
    lab_programs.stop_node(mood)
    assert lab_programs.nodes[mood].process.returncode == 0


def is_registered(status: dict[str, Any]) -> bool:
    return bool(status["server"]["state"] == "registered")


def is_announced(status: dict[str, Any]) -> bool:
    node = status["node"]
    return bool(node["announcement"] == "acknowledged" and node["nat"]["mapping"] != "unknown")


def asked_in_vain(status: dict[str, Any], mood: str) -> bool:
    """A liar is believed to hold something, which nobody outside is told of where STUN says otherwise."""
    ipv4 = status["node"]["port_mappings"][0]
    expected = ("mapped", "renewing", "lost", "probing") if mood == "lying" else ("unsupported",)
    return ipv4["state"] in expected
