"""Against servers that others wrote: coturn for STUN, miniupnpd for UPnP; and the kernel's TCP through the tunnel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.journeys.conftest import BUSY, OpenLabPrograms
from tests.journeys.foreign_servers import COTURN, start_coturn
from tests.verify.netlab.conftest import SILENCE, Agent

from tunnel.model.endpoint import Endpoint
from tunnel.model.settings import TUNNEL_MTU
from tunnel.verify.netlab import SERVER_ADDRESSES, Gateway, Host, Kind, Lab, Site, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms
from tunnel.wire.stun import Change

pytestmark = pytest.mark.netlab

HOST_TOOL = Path(__file__).with_name("host_tool.py")
OUR_PORTS = (4478, 4479)
OURS = tuple(Endpoint(address, port) for address, port in product(SERVER_ADDRESSES, OUR_PORTS))
"""Our STUN service, beside coturn on the same host."""


def run_host_tool(lab: Lab, host: Host, *arguments: object) -> Any:
    """What `host_tool.py` prints on a host."""
    return json.loads(lab.run(host, host_tool_argv(*arguments)))


def host_tool_argv(*arguments: object) -> Sequence[str]:
    return [sys.executable, str(HOST_TOOL), *map(str, arguments)]


@pytest.fixture(scope="module")
def house(
    open_lab_programs: OpenLabPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Lab, LabPrograms]]:
    """Nodes that are told of coturn: a desk and a laptop behind port-preserving NATs, a phone behind a symmetric one.

    The desk meets the laptop directly, and over the relay a till that wants no other path, and a kiosk that has none.
    """
    lab, lab_programs = open_lab_programs(
        SiteSpec("home"),
        SiteSpec("office"),
        SiteSpec("shop"),
        SiteSpec("station", Kind.UDP_BLOCKED),
        SiteSpec("hotel", Kind.SYMMETRIC),
        SiteSpec("rented", Kind.PUBLIC),
        stun_ports=OUR_PORTS,
    )
    start_coturn(lab, tmp_path_factory.mktemp("coturn"))
    told = [word for server in COTURN for word in ("--stun", str(server))]
    for site, name in (("home", "desk"), ("office", "laptop"), ("hotel", "phone")):
        lab_programs.start_node(lab.sites[site].host, name, *told)
    lab_programs.start_node(lab.sites["shop"].host, "till", "--relay-only")
    lab_programs.start_node(lab.sites["station"].host, "kiosk")
    lab_programs.wait_ready("desk", "laptop", "till", "kiosk", "phone")
    yield lab, lab_programs
    assert lab_programs.server is not None
    programs = {"server": lab_programs.server} | {name: node.process for name, node in lab_programs.nodes.items()}
    for name, program in programs.items():
        assert program.poll() is None, f"{name} ended by itself:\n{lab_programs.log(name)}"


# STUN

NODES = {"home": "desk", "hotel": "phone"}
MAPPINGS = {"home": "endpoint_independent", "hotel": "address_and_port_dependent", "rented": "none"}
CLASSES = {"home": "Restric Port NAT", "hotel": "Symmetric NAT", "rented": "Open Internet"}


@contextmanager
def our_stun_silent(lab: Lab) -> Iterator[None]:
    """Our service hears nobody; coturn does."""
    ports = ", ".join(map(str, OUR_PORTS))
    hook = "type filter hook input priority filter; policy accept;"
    lab.run(lab.server, ["nft", f"table inet deaf {{ chain input {{ {hook} udp dport {{ {ports} }} drop; }}; }}"])
    try:
        yield
    finally:
        lab.run(lab.server, ["nft", "delete table inet deaf"])


@pytest.mark.parametrize("site", NODES)
def test_a_node_learns_its_mapping_from_a_foreign_server_alone(house: tuple[Lab, LabPrograms], site: str) -> None:
    """A server that nobody can ask for a second opinion is no evidence against the survey."""
    lab, lab_programs = house
    with our_stun_silent(lab):
        said = json.loads(lab_programs.command(NODES[site], "netcheck", "--json"))
        status = lab_programs.printed_status(NODES[site])
    assert {answer["server"] for answer in said["answers"]} <= set(map(str, COTURN))
    assert said["nat"]["mapping"] == status["node"]["nat"]["mapping"] == MAPPINGS[site]
    assert {endpoint.partition(":")[0] for endpoint in said["reflexive"]} == {lab.sites[site].wan}
    assert said["second_opinion"]["classic"] is said["second_opinion"]["agrees"] is None


@pytest.mark.parametrize("site", NODES)
def test_netcheck_and_pystun3_agree_about_a_nat(house: tuple[Lab, LabPrograms], site: str) -> None:
    said = json.loads(house[1].command(NODES[site], "netcheck", "--json"))
    assert said["nat"]["mapping"] == MAPPINGS[site]
    opinion = said["second_opinion"]
    assert (opinion["classic"], opinion["note"], opinion["agrees"]) == (CLASSES[site], "", True)


@pytest.mark.parametrize("site", MAPPINGS)
def test_our_survey_hears_the_same_from_coturn_and_from_our_own_service(
    house: tuple[Lab, LabPrograms], site: str
) -> None:
    lab = house[0]
    place = lab.sites[site]
    for servers in (COTURN, OURS):
        said = run_host_tool(lab, place.host, "survey", *servers)
        assert said["mapping"] == MAPPINGS[site], said["evidence"]
        if site == "hotel":
            assert len(said["reflexive"]) == said["answers"] > 2
        else:
            assert said["reflexive"] == [f"{place.wan}:{said['local']}"]


@pytest.mark.parametrize("site", MAPPINGS)
def test_pystun3_finds_the_same_class_at_coturn(house: tuple[Lab, LabPrograms], site: str) -> None:
    lab = house[0]
    host = lab.sites[site].host
    assert run_host_tool(lab, host, "classic", COTURN[0], host.address) == CLASSES[site]


@pytest.mark.parametrize("change", [Change.NOTHING, Change.PORT, Change.ADDRESS, Change.PORT | Change.ADDRESS], ids=str)
def test_our_service_answers_from_where_coturn_does_and_says_the_same(
    house: tuple[Lab, LabPrograms], change: Change
) -> None:
    """RFC 5780 7.2 to 7.4, as two implementations read it."""
    lab = house[0]
    host = lab.sites["rented"].host
    for servers in (COTURN, OURS):
        said = run_host_tool(lab, host, "ask", servers[0], int(change))
        speaker = servers[(Change.PORT in change) + 2 * (Change.ADDRESS in change)]
        assert said["from"] == said["origin"] == str(speaker)
        assert said["observed"] == f"{host.address}:{said['local']}"
        assert said["other"] == str(servers[3])


# UPnP

PORT = 40_000
LEASE = 600


@dataclass(frozen=True, slots=True)
class Street:
    """Two hosts behind a router that maps ports, and one behind a router that does not."""

    lab: Lab
    home: Site
    searching: subprocess.Popen[bytes]
    """The host without one asks first: it searches for seconds, so it begins before the others."""


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    with Lab(SiteSpec("home", hosts=2), SiteSpec("office")) as lab:
        search = host_tool_argv("map", PORT, LEASE)
        searching = lab.popen(lab.sites["office"].host, search, stdout=subprocess.PIPE)
        lab.open_gateway(lab.sites["home"], *Gateway)
        with searching:
            yield Street(lab, lab.sites["home"], searching)


@pytest.mark.upnp
def test_a_packet_from_outside_arrives_through_a_mapping_and_only_while_it_exists(street: Street) -> None:
    lab, home = street.lab, street.home
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
    assert run_host_tool(lab, home.host, "map", PORT, LEASE) == str(outside)
    assert knocks("while") == "while"
    assert run_host_tool(lab, home.host, "unmap", PORT) is None
    assert knocks("after") is None
    inside.close()
    stranger.close()


@pytest.mark.upnp
def test_a_second_host_gets_another_port_and_cannot_take_the_first_ones_away(street: Street) -> None:
    lab, home = street.lab, street.home
    first, second = home.hosts
    assert run_host_tool(lab, first, "map", PORT, LEASE) == f"{home.wan}:{PORT}"
    assert run_host_tool(lab, second, "map", PORT, LEASE) == f"{home.wan}:{PORT + 1}"
    assert run_host_tool(lab, second, "unmap", PORT)["error"] == "Refused"


@pytest.mark.upnp
def test_a_gateway_that_has_no_port_for_us_refuses(street: Street) -> None:
    """Four ports are tried; miniupnpd maps none below 1024 here."""
    lab, home = street.lab, street.home
    said = run_host_tool(lab, home.host, "map", 80, LEASE)
    assert said["error"] == "Refused"
    assert "not_mapped" in said["text"]


@pytest.mark.upnp
def test_without_a_gateway_mapping_ends_in_unreachable_soon(street: Street) -> None:
    assert street.searching.stdout is not None
    said = json.loads(street.searching.stdout.read())
    assert said["error"] == "Unreachable"
    assert said["seconds"] < 8 + BUSY


# TCP

SIZE = 50_000_000
FITS = TUNNEL_MTU - 28
"""Bytes of a ping's payload: what the IPv4 and ICMP headers leave."""
PEERS = {"laptop": "direct", "till": "relay-udp", "kiosk": "relay-websocket"}


@pytest.fixture
def peer(house: tuple[Lab, LabPrograms], request: pytest.FixtureRequest) -> str:
    """The name of a peer that the desk has met, each in its way."""
    lab_programs, name = house[1], str(request.param)
    lab_programs.start_ping("desk", name, count=2, interval=0.1).finish()
    lab_programs.wait_peer("desk", name, lambda entry: is_carried(entry, PEERS[name]), PEERS[name])
    return name


def is_carried(entry: dict[str, Any], kind: str) -> bool:
    return entry["path"] is not None and entry["path"]["kind"] == kind


@pytest.mark.parametrize("peer", PEERS, indirect=True)
def test_a_tcp_stream_of_fifty_megabytes_arrives_unharmed(house: tuple[Lab, LabPrograms], peer: str) -> None:
    lab, lab_programs = house
    desk, other = lab_programs.nodes["desk"], lab_programs.nodes[peer]
    address = lab_programs.address(peer)
    receiver = lab.popen(other.host, host_tool_argv("receive", address), stdout=subprocess.PIPE)
    assert receiver.stdout is not None
    with receiver.stdout as said:
        digest = run_host_tool(lab, desk.host, "send", f"{address}:{int(said.readline())}", SIZE)
        assert json.loads(said.readline()) == [SIZE, digest]
    entry = lab_programs.peer("desk", peer)
    assert entry is not None
    assert is_carried(entry, PEERS[peer])
    assert entry["tx_bytes"] > SIZE


@pytest.mark.parametrize("peer", PEERS, indirect=True)
def test_the_largest_packet_passes_and_a_larger_one_is_refused_at_once(
    house: tuple[Lab, LabPrograms], peer: str
) -> None:
    lab, lab_programs = house
    host, address = lab_programs.nodes["desk"].host, lab_programs.address(peer)

    def ping(size: int) -> str:
        argv = lab.command(host, ["ping", "-n", "-c", "1", "-W", "5", "-M", "do", "-s", str(size), address])
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
        return done.stdout + done.stderr

    assert f"{FITS + 8} bytes from {address}" in ping(FITS)
    assert f"message too long, mtu={TUNNEL_MTU}" in ping(FITS + 1)
    entry = lab_programs.peer("desk", peer)
    assert entry is not None
    assert entry["path"]["mtu"] == TUNNEL_MTU
