"""Against servers that others wrote: coturn for STUN, miniupnpd for UPnP; and the kernel's TCP through the tunnel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.journeys.conftest import OpenHousehold
from tests.journeys.foreign_servers import COTURN, start_coturn, start_port_mapping
from tests.netlab.conftest import SILENCE, Agent

from tunnel.model.endpoint import Endpoint
from tunnel.model.settings import TUNNEL_MTU
from tunnel.netlab import SERVER_ADDRESSES, Host, Kind, Lab, Site, SiteSpec
from tunnel.netlab.household import Household
from tunnel.wire.stun import Change

pytestmark = pytest.mark.netlab

ERRAND = Path(__file__).with_name("errand.py")
OUR_PORTS = (4478, 4479)
OURS = tuple(Endpoint(address, port) for address, port in product(SERVER_ADDRESSES, OUR_PORTS))
"""Our STUN service, beside coturn on the same host."""


def errand(lab: Lab, host: Host, *arguments: object) -> Any:
    """What `errand.py` prints on a host."""
    return json.loads(lab.run(host, errand_argv(*arguments)))


def errand_argv(*arguments: object) -> Sequence[str]:
    return [sys.executable, str(ERRAND), *map(str, arguments)]


# STUN

NODES = {"home": "desk", "hotel": "phone"}
MAPPINGS = {"home": "endpoint_independent", "hotel": "address_and_port_dependent", "rented": "none"}
CLASSES = {"home": "Restric Port NAT", "hotel": "Symmetric NAT", "rented": "Open Internet"}


@pytest.fixture(scope="module")
def stun(open_household: OpenHousehold, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Household]:
    """A desk behind a port-preserving NAT and a phone behind a symmetric one; both are told of coturn."""
    lab, household = open_household(
        SiteSpec("home"), SiteSpec("hotel", Kind.SYMMETRIC), SiteSpec("rented", Kind.PUBLIC), stun_ports=OUR_PORTS
    )
    start_coturn(lab, tmp_path_factory.mktemp("coturn"))
    for site, name in NODES.items():
        options = [word for server in COTURN for word in ("--stun", str(server))]
        household.start_node(lab.sites[site].host, name, *options)
    for name in NODES.values():
        household.address(name)
    return lab, household


@contextmanager
def our_stun_silent(lab: Lab) -> Iterator[None]:
    """Our service hears nobody; coturn does."""
    ports = ", ".join(map(str, OUR_PORTS))
    hook = "type filter hook input priority filter; policy accept;"
    lab.run(lab.server, ["nft", f"table inet deaf {{ chain input {{ {hook} udp dport {{ {ports} }} drop; }}; }}"])
    yield
    lab.run(lab.server, ["nft", "delete table inet deaf"])


@pytest.mark.parametrize("site", NODES)
def test_a_node_learns_its_mapping_from_a_foreign_server_alone(stun: tuple[Lab, Household], site: str) -> None:
    """A server that nobody can ask for a second opinion is no evidence against the survey."""
    lab, household = stun
    with our_stun_silent(lab):
        said = json.loads(household.command(NODES[site], "netcheck", "--json"))
        status = household.printed_status(NODES[site])
    assert {answer["server"] for answer in said["answers"]} <= set(map(str, COTURN))
    assert said["nat"]["mapping"] == status["node"]["nat"]["mapping"] == MAPPINGS[site]
    assert {endpoint.partition(":")[0] for endpoint in said["reflexive"]} == {lab.sites[site].wan}
    assert said["second_opinion"]["classic"] is said["second_opinion"]["agrees"] is None


@pytest.mark.parametrize("site", NODES)
def test_netcheck_and_pystun3_agree_about_a_nat(stun: tuple[Lab, Household], site: str) -> None:
    said = json.loads(stun[1].command(NODES[site], "netcheck", "--json"))
    assert said["nat"]["mapping"] == MAPPINGS[site]
    assert said["second_opinion"] == {"classic": CLASSES[site], "note": "", "agrees": True}


@pytest.mark.parametrize("site", MAPPINGS)
def test_our_survey_hears_the_same_from_coturn_and_from_our_own_service(stun: tuple[Lab, Household], site: str) -> None:
    lab = stun[0]
    place = lab.sites[site]
    for servers in (COTURN, OURS):
        said = errand(lab, place.host, "survey", *servers)
        assert said["mapping"] == MAPPINGS[site], said["evidence"]
        if site == "hotel":
            assert len(said["reflexive"]) == said["answers"] > 2
        else:
            assert said["reflexive"] == [f"{place.wan}:{said['local']}"]


@pytest.mark.parametrize("site", MAPPINGS)
def test_pystun3_finds_the_same_class_at_coturn(stun: tuple[Lab, Household], site: str) -> None:
    lab = stun[0]
    host = lab.sites[site].host
    assert errand(lab, host, "classic", COTURN[0], host.address) == CLASSES[site]


@pytest.mark.parametrize("change", [Change.NOTHING, Change.PORT, Change.ADDRESS, Change.PORT | Change.ADDRESS], ids=str)
def test_our_service_answers_from_where_coturn_does_and_says_the_same(
    stun: tuple[Lab, Household], change: Change
) -> None:
    """RFC 5780 7.2 to 7.4, as two implementations read it."""
    lab = stun[0]
    host = lab.sites["rented"].host
    for servers in (COTURN, OURS):
        said = errand(lab, host, "ask", servers[0], int(change))
        speaker = servers[(Change.PORT in change) + 2 * (Change.ADDRESS in change)]
        assert said["from"] == said["origin"] == str(speaker)
        assert said["observed"] == f"{host.address}:{said['local']}"
        assert said["other"] == str(servers[3])


# UPnP

PORT = 40_000
LEASE = 600


@pytest.fixture
def upnp(tmp_path: Path) -> Iterator[tuple[Lab, Site]]:
    """Two hosts behind a router that maps ports, and one behind a router that does not."""
    with Lab(SiteSpec("home", hosts=2), SiteSpec("office")) as lab:
        home = lab.sites["home"]
        start_port_mapping(lab, home, tmp_path)
        yield lab, home


def test_a_packet_from_outside_arrives_through_a_mapping_and_only_while_it_exists(upnp: tuple[Lab, Site]) -> None:
    lab, home = upnp
    outside = Endpoint(home.wan, PORT)
    inside, stranger = Agent(lab, home.host), Agent(lab, lab.server)
    inside.open(PORT)

    def knocks(text: str) -> str | None:
        """From a fresh port each time: the router goes on passing a flow that it knows."""
        source = Endpoint(SERVER_ADDRESSES[0], stranger.open())
        stranger.send(outside, text)
        heard = inside.hear(SILENCE)
        assert heard is None or heard[1].port == source.port
        return None if heard is None else heard[0]

    assert knocks("before") is None
    assert errand(lab, home.host, "map", PORT, LEASE) == str(outside)
    assert knocks("while") == "while"
    assert errand(lab, home.host, "unmap", PORT) is None
    assert knocks("after") is None
    inside.close()
    stranger.close()


def test_a_second_host_gets_another_port_and_cannot_take_the_first_ones_away(upnp: tuple[Lab, Site]) -> None:
    lab, home = upnp
    first, second = home.hosts
    assert errand(lab, first, "map", PORT, LEASE) == f"{home.wan}:{PORT}"
    assert errand(lab, second, "map", PORT, LEASE) == f"{home.wan}:{PORT + 1}"
    assert errand(lab, second, "unmap", PORT)["error"] == "Refused"


def test_a_gateway_that_has_no_port_for_us_refuses(upnp: tuple[Lab, Site]) -> None:
    """Four ports are tried; miniupnpd maps none below 1024 here."""
    lab, home = upnp
    said = errand(lab, home.host, "map", 80, LEASE)
    assert said["error"] == "Refused"
    assert "not_mapped" in said["text"]


def test_without_a_gateway_mapping_ends_in_unreachable_soon(upnp: tuple[Lab, Site]) -> None:
    lab = upnp[0]
    said = errand(lab, lab.sites["office"].host, "map", PORT, LEASE)
    assert said["error"] == "Unreachable"
    assert said["seconds"] < 8


# TCP

SIZE = 50_000_000
FITS = TUNNEL_MTU - 28
"""Bytes of a ping's payload: what the IPv4 and ICMP headers leave."""
PEERS = {"laptop": "direct", "till": "relay-websocket"}


@pytest.fixture(scope="module")
def tunnel(open_household: OpenHousehold) -> tuple[Lab, Household]:
    """A desk that meets a laptop directly, and over the relay a till that wants no other path."""
    lab, household = open_household(SiteSpec("home"), SiteSpec("office"), SiteSpec("shop"))
    for site, name, options in (("home", "desk", ()), ("office", "laptop", ()), ("shop", "till", ("--relay-only",))):
        household.start_node(lab.sites[site].host, name, *options)
    household.wait_ready("desk", "laptop", "till")
    for peer in PEERS:
        household.start_ping("desk", peer, count=3, interval=0.1).finish()
    household.wait_direct("desk", "laptop")
    household.wait_state("desk", "till", "relayed")
    return lab, household


@pytest.mark.parametrize("peer", PEERS)
def test_a_tcp_stream_of_fifty_megabytes_arrives_unharmed(tunnel: tuple[Lab, Household], peer: str) -> None:
    lab, household = tunnel
    desk, other = household.nodes["desk"], household.nodes[peer]
    address = household.address(peer)
    receiver = lab.popen(other.host, errand_argv("receive", address), stdout=subprocess.PIPE)
    assert receiver.stdout is not None
    with receiver.stdout as said:
        digest = errand(lab, desk.host, "send", f"{address}:{int(said.readline())}", SIZE)
        assert json.loads(said.readline()) == [SIZE, digest]
    entry = household.peer("desk", peer)
    assert entry is not None
    assert entry["path"]["kind"] == PEERS[peer]
    assert entry["tx_bytes"] > SIZE


@pytest.mark.parametrize("peer", PEERS)
def test_the_largest_packet_passes_and_a_larger_one_is_refused_at_once(
    tunnel: tuple[Lab, Household], peer: str
) -> None:
    lab, household = tunnel
    host, address = household.nodes["desk"].host, household.address(peer)

    def ping(size: int) -> str:
        argv = lab.command(host, ["ping", "-n", "-c", "1", "-W", "5", "-M", "do", "-s", str(size), address])
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
        return done.stdout + done.stderr

    assert f"{FITS + 8} bytes from {address}" in ping(FITS)
    assert f"message too long, mtu={TUNNEL_MTU}" in ping(FITS + 1)
    entry = household.peer("desk", peer)
    assert entry is not None
    assert entry["path"]["mtu"] == TUNNEL_MTU
