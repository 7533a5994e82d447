"""Routers that open ports on request, judged by whether an unsolicited packet comes in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from tests.verify.netlab.conftest import Agent

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError
from tunnel.verify.netlab import Gateway, Host, Kind, Lab, Site
from tunnel.verify.netlab.gateways import wait_said
from tunnel.verify.netlab.ledger import sweep

pytestmark = pytest.mark.netlab

PORT = 40_000
SOON = 5.0
SILENCE = 0.3
PCP_PORT = 5351
KINDS = [kind for kind in Kind if kind.gateway is not None]

UPNP = f"""
import miniupnpc
upnp = miniupnpc.UPnP()
upnp.discoverdelay = 200
found = upnp.discover()
if not found:
    raise SystemExit("no gateway")
upnp.selectigd()
print(upnp.addportmapping({PORT}, "UDP", upnp.lanaddr, {PORT}, "lab", ""))
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One for all: each test has a site of its own."""
    with Lab() as lab:
        yield lab


def fresh_site(lab: Lab, kind: Kind) -> Site:
    return lab.add_site(f"site{len(lab.sites)}", kind)


def ask_nat_pmp(agent: Agent, site: Site, within: float = SOON) -> bytes | None:
    """RFC 6886 3.3, for an hour; the answer's version, operation and result, or None."""
    request = bytes((0, 1, 0, 0)) + 2 * PORT.to_bytes(2, "big") + (3600).to_bytes(4, "big")
    answer = agent.exchange(Endpoint(f"{site.lan}.1", PCP_PORT), request, within)
    return answer and answer[:4]


def ask_pcp(agent: Agent, site: Site, host: Host) -> bytes | None:
    """RFC 6887 11.1, likewise; the answer's version, operation, reserved byte and result."""
    header = bytes((2, 1, 0, 0)) + (3600).to_bytes(4, "big") + _mapped(host.address)
    mapping = b"lab's nonce." + bytes((17, 0, 0, 0)) + 2 * PORT.to_bytes(2, "big") + _mapped("0.0.0.0")
    answer = agent.exchange(Endpoint(f"{site.lan}.1", PCP_PORT), header + mapping)
    return answer and answer[:4]


def ask_upnp(lab: Lab, host: Host) -> str:
    return lab.run(host, [sys.executable, "-c", UPNP])


def _mapped(address: str) -> bytes:
    return bytes(10) + b"\xff\xff" + IPv4Address(address).packed


def knock(stranger: Agent, inside: Agent, site: Site) -> bool:
    """Whether a packet from a fresh port comes in: the router goes on passing a flow that it knows."""
    stranger.open()
    stranger.send(Endpoint(site.wan, PORT), "knock")
    heard = inside.hear(SILENCE)
    return heard is not None and heard[0] == "knock"


@pytest.mark.upnp
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
def test_a_gateway_opens_a_port_to_strangers_in_its_own_protocol_alone(
    lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind
) -> None:
    """Whatever NAT it stands on: the port that was asked for leads in, from anywhere."""
    site = fresh_site(lab, kind)
    inside, asker, stranger = agent_on(site.host), agent_on(site.host), agent_on(lab.server)
    inside.open(PORT)
    asker.open()
    assert not knock(stranger, inside, site)
    if kind.gateway is Gateway.UPNP:
        assert ask_nat_pmp(asker, site, SILENCE) is None
        assert ask_upnp(lab, site.host) == "True\n"
    else:
        with pytest.raises(DeviceError, match="no gateway"):
            ask_upnp(lab, site.host)
        assert ask_pcp(asker, site, site.host) == bytes((2, 129, 0, 0))
        assert ask_nat_pmp(asker, site) == bytes((0, 129, 0, 0))
    assert knock(stranger, inside, site)


def test_a_gateway_that_dies_keeps_its_leases_and_answers_again_when_it_is_back(
    lab: Lab, agent_on: Callable[[Host], Agent]
) -> None:
    site = fresh_site(lab, Kind.PCP)
    inside, asker, stranger = agent_on(site.host), agent_on(site.host), agent_on(lab.server)
    inside.open(PORT)
    asker.open()
    assert ask_nat_pmp(asker, site) == bytes((0, 129, 0, 0))
    gateway = lab.gateways[site.name]
    gateway.kill()
    assert ask_nat_pmp(asker, site, SILENCE) is None
    gateway.start()
    assert knock(stranger, inside, site)
    gateway.stop()
    gateway.start()
    assert knock(stranger, inside, site)
    assert ask_nat_pmp(asker, site) == bytes((0, 129, 0, 0))


@pytest.mark.upnp
def test_any_router_may_become_a_gateway_for_both_protocols(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    site = fresh_site(lab, Kind.PORT_PRESERVING)
    lab.open_gateway(site, *Gateway)
    asker = agent_on(site.host)
    asker.open()
    assert ask_nat_pmp(asker, site) == bytes((0, 129, 0, 0))
    assert ask_upnp(lab, site.host) == "True\n"


def test_a_gateway_and_its_files_end_with_the_lab(tmp_path: Path) -> None:
    with Lab(state=tmp_path) as lab:
        lab.add_site("home", Kind.UPNP)
        assert list((tmp_path / lab.id).iterdir()) != []
        program = lab.gateways["home"]
    assert program.is_running is False
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    assert sweep(tmp_path) == []


def test_a_daemon_that_cannot_start_is_quoted() -> None:
    argv = [sys.executable, "-I", "-S", "-c", "print('no such interface')"]
    with (
        subprocess.Popen(argv, stdout=subprocess.PIPE) as daemon,
        pytest.raises(DeviceError, match=r"did not start:\nno such interface"),
    ):
        wait_said(daemon, b"listening")
