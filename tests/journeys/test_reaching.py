"""How a node reaches a server that does not stand at one plain address. Real kernels."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.journeys.conftest import BUSY, OpenHousehold
from tests.journeys.etc_files import etc_file

from tunnel.verify.netlab import Kind, Lab, SiteSpec
from tunnel.verify.netlab.programs import Household
from tunnel.verify.netlab.sites import Host

pytestmark = pytest.mark.netlab

HOME = SiteSpec("home", Kind.PORT_PRESERVING)
OFFICE = SiteSpec("office", Kind.SYMMETRIC)


def test_a_server_on_the_wildcard_address_answers_from_the_address_that_was_asked(
    open_household: OpenHousehold,
) -> None:
    """The invite names its second address; the kernel alone would answer UDP from the first."""
    lab, household = open_household(HOME, OFFICE, listen=["0.0.0.0:443"], url="wss://25.0.0.2:443")
    for site in (HOME, OFFICE):
        household.start_node(lab.sites[site.name].host, site.name)
    household.wait_ready("home", "office")
    household.start_ping("home", "office", count=20).finish()
    household.wait_direct("home", "office")
    nat = household.status("home")["node"]["nat"]
    assert (nat["mapping"], nat["udp"]) == ("endpoint_independent", "open")


@pytest.mark.parametrize("told", ["64:ff9b::c000:aa ipv4only.arpa\n", ""], ids=["prefix told", "nothing told"])
def test_a_phone_with_ipv6_alone_reaches_an_ipv4_server_and_an_ipv4_peer_through_a_nat64(
    open_household: OpenHousehold, told: str
) -> None:
    """The invite has the server's IPv4 address: no name server is asked, so none translates."""
    phone, desk = SiteSpec("phone", Kind.IPV6_ONLY), SiteSpec("desk", Kind.PORT_PRESERVING)
    lab, household = open_household(phone, desk, listen=["25.0.0.1:443"])
    lab.open_nat64()
    host = lab.sites["phone"].host
    with etc_file(host, "hosts", told):
        household.start_node(host, "phone", ipv6=False)
        household.start_node(lab.sites["desk"].host, "desk")
        household.wait_ready("phone", "desk")
        household.start_ping("phone", "desk", count=20).finish()
        here, there = household.wait_direct("phone", "desk")
    assert here["path"]["endpoint"].startswith("[64:ff9b::1902:1]:")
    assert there["path"]["endpoint"].startswith("25.98.0.1:")


@pytest.mark.parametrize("longer_than", [200, 1280])
def test_ipv6_that_connects_and_then_carries_nothing_or_little_costs_a_second(
    open_household: OpenHousehold, longer_than: int
) -> None:
    """The name leads to both families. With 1280 bytes the link stays on IPv6, which some call the better half."""
    site = SiteSpec("home", Kind.PORT_PRESERVING, ipv6=True)
    lab, household = open_household(site, url="wss://server.test:443")
    host = lab.sites["home"].host
    lab.swallow_ipv6_streams(longer_than)
    with etc_file(host, "hosts", "2a25::1 server.test\n25.0.0.1 server.test\n"):
        began = time.monotonic()
        household.start_node(host, "home")
        household.wait_status("home", lambda status: bool(status["server"]["state"] == "registered"), "registered")
    assert time.monotonic() - began < 3.0 + BUSY
    moves = household.log("home")
    assert "backing_off" not in moves


def test_a_node_that_only_an_http_proxy_leads_out_reaches_its_server_and_its_peers(
    open_household: OpenHousehold,
) -> None:
    """As in many offices: nothing is routed, CONNECT is, for those who say who they are."""
    home, office = SiteSpec("home", Kind.PORT_PRESERVING), SiteSpec("office", Kind.PORT_PRESERVING)
    lab, household = open_household(home, office)
    router = Host("router", lab.sites["office"].edge, lab.sites["office"].wan)
    lab.run(router, ["nft", "insert", "rule", "inet", "filter", "forward", "iifname", "lan", "drop"])
    gateway = "192.168.2.1"
    script = Path(__file__).with_name("http_proxy.py")
    argv = [sys.executable, str(script), gateway, "3128", "me:secret"]
    proxy = lab.popen(router, argv, stdout=subprocess.PIPE)
    assert proxy.stdout is not None
    with proxy.stdout as said:
        assert said.readline() == b"ready\n"
        household.start_node(lab.sites["home"].host, "home")
        household.start_node(lab.sites["office"].host, "office", HTTPS_PROXY=f"http://me:secret@{gateway}:3128")
        household.wait_ready("home", "office")
        assert said.readline() == b"25.0.0.1:443 200\n"
        household.start_ping("home", "office", count=10).finish()
    assert "secret" not in household.log("office")
    peer = household.peer("office", "home")
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
    with Lab(SiteSpec("home", Kind.PORT_PRESERVING)) as lab, Household(lab, tmp_path) as household:
        lab.run(lab.server, ["ip", "address", "add", f"{INSIDE}/32", "dev", "lo"])
        rules = tmp_path / "rules.nft"
        rules.write_text(FORWARD + (MASK if is_masked else ""))
        lab.run(lab.server, ["nft", "-f", str(rules)])
        household.start_server(listen=[f"{INSIDE}:443"], url="wss://25.0.0.2:443")
        household.start_node(lab.sites["home"].host, "home")
        household.wait_status(
            "home", lambda status: bool(status["node"]["announcement"] == "acknowledged"), "announced"
        )
        node = household.status("home")["node"]
    assert node["nat"]["udp"] == "open"
    assert node["nat"]["mapping"] == ("unknown" if is_masked else "endpoint_independent")
    hidden = [note for note in node["notes"] if "sees us at 10.9.9.1" in note]
    assert len(hidden) == is_masked
