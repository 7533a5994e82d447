"""How a node reaches a server that does not stand at one plain address. Real kernels."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.journeys.conftest import BUSY, OpenLabPrograms
from tests.journeys.etc_files import etc_file

from tunnel.verify.netlab import Kind, Lab, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms
from tunnel.verify.netlab.sites import Host

pytestmark = pytest.mark.netlab

HOME = SiteSpec("home", Kind.PORT_PRESERVING)
OFFICE = SiteSpec("office", Kind.SYMMETRIC)


def test_a_server_on_the_wildcard_address_answers_from_the_address_that_was_asked(
    open_lab_programs: OpenLabPrograms,
) -> None:
    """The invite names its second address; the kernel alone would answer UDP from the first."""
    lab, lab_programs = open_lab_programs(HOME, OFFICE, listen=["0.0.0.0:443"], url="wss://25.0.0.2:443")
    for site in (HOME, OFFICE):
        lab_programs.start_node(lab.sites[site.name].host, site.name)
    lab_programs.wait_ready("home", "office")
    lab_programs.start_ping("home", "office", count=20).finish()
    lab_programs.wait_direct("home", "office")
    nat = lab_programs.status("home")["node"]["nat"]
    assert (nat["mapping"], nat["udp"]) == ("endpoint_independent", "open")


@pytest.mark.parametrize("told", ["64:ff9b::c000:aa ipv4only.arpa\n", ""], ids=["prefix told", "nothing told"])
def test_a_phone_with_ipv6_alone_reaches_an_ipv4_server_and_an_ipv4_peer_through_a_nat64(
    open_lab_programs: OpenLabPrograms, told: str
) -> None:
    """The invite has the server's IPv4 address: no name server is asked, so none translates."""
    phone, desk = SiteSpec("phone", Kind.IPV6_ONLY), SiteSpec("desk", Kind.PORT_PRESERVING)
    lab, lab_programs = open_lab_programs(phone, desk, listen=["25.0.0.1:443"])
    lab.open_nat64()
    host = lab.sites["phone"].host
    with etc_file(host, "hosts", told):
        lab_programs.start_node(host, "phone", ipv6=False)
        lab_programs.start_node(lab.sites["desk"].host, "desk")
        lab_programs.wait_ready("phone", "desk")
        lab_programs.start_ping("phone", "desk", count=20).finish()
        here, there = lab_programs.wait_direct("phone", "desk")
    assert here["path"]["endpoint"].startswith("[64:ff9b::1902:1]:")
    assert there["path"]["endpoint"].startswith("25.98.0.1:")


@pytest.mark.parametrize("longer_than", [200, 1280])
def test_ipv6_that_connects_and_then_carries_nothing_or_little_costs_a_second(
    open_lab_programs: OpenLabPrograms, longer_than: int
) -> None:
    """The name leads to both families. With 1280 bytes the link stays on IPv6, which some call the better half."""
    site = SiteSpec("home", Kind.PORT_PRESERVING, ipv6=True)
    lab, lab_programs = open_lab_programs(site, url="wss://server.test:443")
    host = lab.sites["home"].host
    lab.swallow_ipv6_streams(longer_than)
    with etc_file(host, "hosts", "2a25::1 server.test\n25.0.0.1 server.test\n"):
        began = time.monotonic()
        lab_programs.start_node(host, "home")
        lab_programs.wait_status("home", lambda status: bool(status["server"]["state"] == "registered"), "registered")
    assert time.monotonic() - began < 3.0 + BUSY
    moves = lab_programs.log("home")
    assert "backing_off" not in moves


def test_a_node_that_only_an_http_proxy_leads_out_reaches_its_server_and_its_peers(
    open_lab_programs: OpenLabPrograms,
) -> None:
    """As in many offices: nothing is routed, CONNECT is, for those who say who they are."""
    home, office = SiteSpec("home", Kind.PORT_PRESERVING), SiteSpec("office", Kind.PORT_PRESERVING)
    lab, lab_programs = open_lab_programs(home, office)
    router = Host("router", lab.sites["office"].edge, lab.sites["office"].wan)
    lab.run(router, ["nft", "insert", "rule", "inet", "filter", "forward", "iifname", "lan", "drop"])
    gateway = "192.168.2.1"
    script = Path(__file__).with_name("http_proxy.py")
    argv = [sys.executable, str(script), gateway, "3128", "me:secret"]
    proxy = lab.popen(router, argv, stdout=subprocess.PIPE)
    assert proxy.stdout is not None
    with proxy.stdout as said:
        assert said.readline() == b"ready\n"
        lab_programs.start_node(lab.sites["home"].host, "home")
        lab_programs.start_node(lab.sites["office"].host, "office", HTTPS_PROXY=f"http://me:secret@{gateway}:3128")
        lab_programs.wait_ready("home", "office")
        assert said.readline() == b"25.0.0.1:443 200\n"
        lab_programs.start_ping("home", "office", count=10).finish()
    assert "secret" not in lab_programs.log("office")
    peer = lab_programs.peer("office", "home")
    assert peer is not None
    assert peer["path"]["kind"] == "relay-websocket"


INSIDE = "10.9.9.9"
"""Where a server in a container, or behind a router, believes itself to be."""
FORWARD = f"""
table ip forwarded {{
  chain prerouting {{
    type nat hook prerouting priority dstnat
    ip daddr 25.0.0.2 dnat to {INSIDE}
  }}
}}
"""
MASK = f"""
table ip forwarded {{
  chain input {{
    type nat hook input priority 100
    ip daddr {INSIDE} meta l4proto udp snat to 10.9.9.1
  }}
}}
"""


@pytest.mark.parametrize("is_masked", [False, True], ids=["forwarded", "forwarded and masked"])
def test_a_server_that_knows_its_private_address_alone_serves_udp_unless_its_forward_hides_who_asks(
    tmp_path: Path, is_masked: bool
) -> None:
    """A router that forwards ports keeps the source; a container's proxy hides it, and its STUN says nothing."""
    with Lab(SiteSpec("home", Kind.PORT_PRESERVING)) as lab, LabPrograms(lab, tmp_path) as lab_programs:
        lab.run(lab.server, ["ip", "address", "add", f"{INSIDE}/32", "dev", "lo"])
        rules = tmp_path / "rules.nft"
        rules.write_text(FORWARD + (MASK if is_masked else ""))
        lab.run(lab.server, ["nft", "-f", str(rules)])
        lab_programs.start_server(listen=[f"{INSIDE}:443"], url="wss://25.0.0.2:443")
        lab_programs.start_node(lab.sites["home"].host, "home")
        lab_programs.wait_status(
            "home", lambda status: bool(status["node"]["announcement"] == "acknowledged"), "announced"
        )
        node = lab_programs.status("home")["node"]
    assert node["nat"]["udp"] == "open"
    assert node["nat"]["mapping"] == ("unknown" if is_masked else "endpoint_independent")
    hidden = [note for note in node["notes"] if "sees us at 10.9.9.1" in note]
    assert len(hidden) == is_masked
