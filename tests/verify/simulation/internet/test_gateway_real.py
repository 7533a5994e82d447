"""One conversation about ports, with the simulated router and with miniupnpd: both give the same answers."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

import pytest
from tests.journeys import host_tool
from tests.verify.netlab.conftest import SILENCE, Agent
from tests.verify.simulation.lone_router import OUTSIDE, make_router

from tunnel.model.endpoint import Endpoint
from tunnel.model.transport import Transport
from tunnel.verify.netlab import Gateway as Protocol
from tunnel.verify.netlab import Host, Lab, Site, SiteSpec
from tunnel.verify.reachability.topology import Gateway
from tunnel.verify.simulation.internet.gateway import GatewayServer
from tunnel.wire.nat_pmp import PmpAddress, PmpAddressRequest, PmpCode, PmpMapped, PmpMapRequest, PmpRefusal
from tunnel.wire.pcp import ANYWHERE, PcpAnnounced, PcpAnnounceRequest, PcpCode, PcpMapped, PcpMapRequest, PcpRefusal
from tunnel.wire.port_control import PORT, PortAnswer, PortRequest, decode_port_answer, encode_port_request

UDP = Transport.UDP
DESK, LAPTOP = "192.168.1.10", "192.168.1.11"
"""What the lab calls the hosts of its first site."""
NONCE, OTHER = b"n" * 12, b"m" * 12
WISH = Endpoint("0.0.0.0", 7000)


def pcp_map(
    client: str, nonce: bytes, internal_port: int, wish: Endpoint = ANYWHERE, lifetime: int = 600, **options: str | bool
) -> PcpMapRequest:
    return replace(PcpMapRequest(client, nonce, UDP, internal_port, wish, lifetime), **options)  # type: ignore[arg-type]


def pcp_mapped(nonce: bytes, internal_port: int, external_port: int, lifetime: int = 600) -> PcpMapped:
    return PcpMapped(0, nonce, UDP, internal_port, Endpoint(OUTSIDE, external_port), lifetime)


def refusal(code: PcpCode, opcode: int = 1, nonce: bytes = NONCE) -> tuple[PcpCode, int, bytes]:
    return code, opcode, nonce


CONVERSATION: tuple[tuple[str, PortRequest | bytes, PortAnswer | tuple[PcpCode, int, bytes | None]], ...] = (
    (DESK, PmpAddressRequest(), PmpAddress(0, OUTSIDE)),
    (DESK, PmpMapRequest(UDP, 5000, 0, 600), PmpMapped(0, UDP, 5000, 5000, 600)),
    (DESK, PmpMapRequest(UDP, 5000, 5000, 300), PmpMapped(0, UDP, 5000, 5000, 300)),
    (LAPTOP, PmpMapRequest(UDP, 5000, 5000, 600), PmpMapped(0, UDP, 5000, 5001, 600)),
    (DESK, PmpMapRequest(Transport.TCP, 5000, 6000, 600), PmpMapped(0, Transport.TCP, 5000, 6000, 600)),
    (DESK, PmpMapRequest(UDP, 5000, 0, 0), PmpMapped(0, UDP, 5000, 0, 0)),
    (DESK, PmpMapRequest(UDP, 5000, 0, 0), PmpMapped(0, UDP, 5000, 0, 0)),
    (LAPTOP, PmpMapRequest(UDP, 0, 0, 0), PmpMapped(0, UDP, 0, 0, 0)),
    (DESK, b"\0\3", PmpRefusal(PmpCode.UNSUPPORTED_OPCODE, 3, 0)),
    (DESK, PcpAnnounceRequest(DESK), PcpAnnounced(0)),
    (DESK, pcp_map(DESK, NONCE, 5000), pcp_mapped(NONCE, 5000, 5000)),
    (DESK, pcp_map(DESK, NONCE, 5000, lifetime=300), pcp_mapped(NONCE, 5000, 5000, 300)),
    (LAPTOP, pcp_map(LAPTOP, OTHER, 5000), pcp_mapped(OTHER, 5000, 5001)),
    (
        DESK,
        pcp_map(DESK, NONCE, 6000, WISH, prefer_failure=True),
        replace(pcp_mapped(NONCE, 6000, 7000), prefer_failure=True),
    ),
    (DESK, pcp_map(LAPTOP, NONCE, 6001), refusal(PcpCode.ADDRESS_MISMATCH)),
    (DESK, pcp_map(DESK, NONCE, 6001, third_party=LAPTOP), refusal(PcpCode.UNSUPP_OPTION)),
    (DESK, encode_port_request(pcp_map(DESK, NONCE, 6001)) + b"\4\0\0\0", refusal(PcpCode.UNSUPP_OPTION)),
    (DESK, encode_port_request(pcp_map(DESK, NONCE, 6001))[:-4], (PcpCode.MALFORMED_REQUEST, 1, None)),
    (DESK, b"\2\5" + encode_port_request(PcpAnnounceRequest(DESK))[2:], (PcpCode.UNSUPP_OPCODE, 5, None)),
    (DESK, pcp_map(DESK, NONCE, 5000, lifetime=0), pcp_mapped(NONCE, 5000, 0, 0)),
)


def check_conversation(exchange: Callable[[str, list[bytes]], list[bytes]]) -> None:
    """Epochs aside, and the time for which a refusal holds, which miniupnpd does not tell."""
    for host, spoken in groupby(CONVERSATION, key=itemgetter(0)):
        lines = list(spoken)
        asked = [request if isinstance(request, bytes) else encode_port_request(request) for _, request, _ in lines]
        for (_, request, expected), datagram in zip(lines, exchange(host, asked), strict=True):
            answer = decode_port_answer(datagram)
            if isinstance(answer, PcpRefusal):
                assert (answer.code, answer.opcode, answer.nonce) == expected, (host, request)
            else:
                assert replace(answer, epoch=0) == expected, (host, request)


@pytest.mark.usefixtures("autojump_clock")
async def test_the_simulated_router_holds_the_conversation() -> None:
    router = make_router(Gateway(nat_pmp=True, pcp=True))
    gateway = GatewayServer(router, chance=random.Random("conversation"))

    def exchange(host: str, asked: list[bytes]) -> list[bytes]:
        answers = [gateway.handle_untrusted(datagram, Endpoint(host, 33333)) for datagram in asked]
        return [answer for answer in answers if answer is not None]

    check_conversation(exchange)


@pytest.fixture
def home() -> Iterator[tuple[Lab, Site]]:
    """Two hosts behind a router on which miniupnpd runs."""
    with Lab(SiteSpec("home", hosts=2)) as lab:
        lab.open_gateway(lab.sites["home"], *Protocol)
        yield lab, lab.sites["home"]


def exchange_in(lab: Lab, host: Host, asked: Sequence[bytes]) -> list[bytes]:
    gateway = Endpoint(host.address.rpartition(".")[0] + ".1", PORT)
    argv = [sys.executable, host_tool.__file__, "exchange", str(gateway), *(datagram.hex() for datagram in asked)]
    return [bytes.fromhex(answer) for answer in json.loads(lab.run(host, argv))]


@pytest.mark.netlab
def test_miniupnpd_holds_the_conversation(home: tuple[Lab, Site]) -> None:
    lab, site = home
    hosts = {host.address: host for host in site.hosts}
    assert (site.wan, *hosts) == (OUTSIDE, DESK, LAPTOP)
    check_conversation(lambda host, asked: exchange_in(lab, hosts[host], asked))


@pytest.mark.netlab
@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        (PmpMapRequest(UDP, 5000, 6000, 600), PmpMapRequest(UDP, 5000, 0, 0)),
        (pcp_map(DESK, NONCE, 5000, Endpoint("0.0.0.0", 6000)), pcp_map(DESK, NONCE, 5000, lifetime=0)),
    ],
    ids=["NAT-PMP", "PCP"],
)
def test_a_real_router_lets_strangers_in_where_our_requests_say(
    home: tuple[Lab, Site], opening: PortRequest, closing: PortRequest
) -> None:
    lab, site = home
    inside, stranger = Agent(lab, site.host), Agent(lab, lab.server)
    inside.open(5000)

    def knocks() -> bool:
        """From a fresh port each time: the router goes on passing a flow that it knows."""
        stranger.open()
        stranger.send(Endpoint(site.wan, 6000))
        return inside.hear(SILENCE) is not None

    assert not knocks()
    exchange_in(lab, site.host, [encode_port_request(opening)])
    assert knocks()
    exchange_in(lab, site.host, [encode_port_request(closing)])
    assert not knocks()
    inside.close()
    stranger.close()
