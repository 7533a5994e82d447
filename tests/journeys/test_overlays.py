"""What others have on the same machines: overlays that ride in our tunnel or beside it, and bridges of containers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import permutations
from pathlib import Path

import pytest
from tests.journeys.conftest import ONE_WAY, OpenLabPrograms, OpenPair, Pair

from tunnel.verify.netlab import Host, Kind, Lab, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms

pytestmark = pytest.mark.netlab

MTU = 1420
"""More than the tunnel's: what the overlay wraps goes through it in fragments."""
PINGS = 40
EVERY = 0.2
FEW = 1500
"""Packets into the interface while so many pings go: they, and probes that are asked in vain. A loop makes 100,000."""
VPN = Path(__file__).with_name("foreign_vpn.py")
Overlay = Callable[[Lab, LabPrograms], AbstractContextManager[None]]
INNER = {"desk": "10.99.0.1", "laptop": "10.99.0.2"}


@pytest.fixture(scope="module", params=[Kind.PORT_PRESERVING, Kind.SYMMETRIC], ids=["direct", "relayed"])
def pair(request: pytest.FixtureRequest, open_pair: OpenPair) -> Pair:
    kind: Kind = request.param
    lab, lab_programs = open_pair(kind, delay=ONE_WAY)
    lab_programs.start_ping("desk", "laptop", interval=EVERY, count=10).finish()
    if kind is Kind.PORT_PRESERVING:
        lab_programs.wait_direct("desk", "laptop")
    return lab, lab_programs


@contextmanager
def vxlan(lab: Lab, lab_programs: LabPrograms) -> Iterator[None]:
    """The kernel's own overlay, in clear, between the two tunnel addresses."""
    for name, other in (("desk", "laptop"), ("laptop", "desk")):
        own, remote = lab_programs.address(name), lab_programs.address(other)
        ip(lab, lab_programs, name, f"link add ovl0 type vxlan id 7 dstport 4789 local {own} remote {remote}")
        ip(lab, lab_programs, name, f"link set ovl0 mtu {MTU} up")
        ip(lab, lab_programs, name, f"address add {INNER[name]}/24 dev ovl0")
    try:
        yield
    finally:
        for name in INNER:
            ip(lab, lab_programs, name, "link delete ovl0")


@contextmanager
def masking_vpn(lab: Lab, lab_programs: LabPrograms) -> Iterator[None]:
    """A program's overlay: what it wraps cannot be recognized."""
    addresses = {name: lab_programs.address(name) for name in INNER}
    ends = [
        (lab_programs.nodes[name].host, INNER[name], addresses[name], addresses[other])
        for name, other in permutations(INNER)
    ]
    with vpn(lab, ends, MTU, 0.0):
        yield


@contextmanager
def vpn(lab: Lab, ends: Sequence[tuple[Host, str, str, str]], mtu: int, delay: float) -> Iterator[None]:
    """Another VPN between two hosts: inner, own outer and the other's outer address of each; milliseconds one way."""
    programs = []
    for host, inner, own, other in ends:
        argv = [sys.executable, str(VPN), f"{inner}/24", own, other, str(mtu), str(delay)]
        program = lab.popen(host, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert program.stdout is not None
        with program.stdout:
            assert program.stdout.readline() == b"ready\n"
        programs.append(program)
    try:
        yield
    finally:
        for program in programs:
            program.communicate()


def ip(lab: Lab, lab_programs: LabPrograms, name: str, words: str) -> str:
    return lab.run(lab_programs.nodes[name].host, ["ip", *words.split()])


def packets_into(lab: Lab, host: Host, tun: str) -> int:
    return int(lab.run(host, ["cat", f"/sys/class/net/{tun}/statistics/tx_packets"]))


@pytest.mark.parametrize("overlay", [vxlan, masking_vpn])
def test_an_overlay_that_rides_in_the_tunnel_becomes_no_way_of_it(pair: Pair, overlay: Overlay) -> None:
    """Its probes arrive and are answered at full size, over the path that they would replace."""
    lab, lab_programs = pair
    desk = lab_programs.nodes["desk"]
    with overlay(lab, lab_programs):
        before = packets_into(lab, desk.host, desk.tun)
        began, used = time.time(), set()
        pinging = lab_programs.start_ping("desk", "laptop", interval=EVERY, count=PINGS)
        for second in range(1, int(PINGS * EVERY)):
            pinging.wait_answer(began + second)
            for name, other in (("desk", "laptop"), ("laptop", "desk")):
                entry = lab_programs.peer(name, other)
                assert entry is not None
                used.add(str((entry["path"] or {}).get("endpoint")))
        pings = pinging.finish()
        into = packets_into(lab, desk.host, desk.tun) - before
    print(f"{into} packets into the interface for {PINGS} pings, {len(pings.lost)} lost; ways {sorted(used)}")
    assert not any(endpoint.startswith("10.99.") for endpoint in used)
    assert into < FEW
    assert len(pings.lost) <= 2


DETOUR = 10.5
"""Milliseconds one way that the other VPN adds."""
NEAR = 3.0
"""Milliseconds between a site and the internet: 12 from host to host and back, 33 through the VPN."""
BRIDGES = 30


def test_another_vpn_s_detour_does_not_hold_a_pair_that_is_near_outside(open_lab_programs: OpenLabPrograms) -> None:
    """It answers first, since NATs must be opened outside. Its address is private, and was taken for one of a LAN."""
    lab, lab_programs = open_lab_programs(SiteSpec("home", delay=NEAR), SiteSpec("office", delay=NEAR))
    home, office = lab.sites["home"], lab.sites["office"]
    hosts = {"desk": home.host, "laptop": office.host}
    ends = [
        (home.host, INNER["desk"], home.host.address, office.wan),
        (office.host, INNER["laptop"], office.host.address, home.wan),
    ]
    with vpn(lab, ends, MTU, DETOUR):
        for name, host in hosts.items():
            lab_programs.start_node(host, name)
        lab_programs.wait_ready(*hosts)
        lab_programs.start_ping("desk", "laptop", interval=EVERY, count=PINGS // 2).finish()
        paths = [entry["path"] for entry in lab_programs.wait_direct("desk", "laptop")]
    print(paths)
    assert not any(path["endpoint"].startswith("10.99.") for path in paths)


def test_two_hosts_of_one_lan_find_each_other_beside_any_number_of_bridges(open_lab_programs: OpenLabPrograms) -> None:
    """Their NAT is a hard one: the LAN is the only way. Its address comes after the bridges' by number."""
    lab, lab_programs = open_lab_programs(SiteSpec("home", Kind.SYMMETRIC, hosts=2))
    hosts = dict(zip(("desk", "laptop"), lab.sites["home"].hosts, strict=True))
    for name, host in hosts.items():
        for number in range(BRIDGES):
            lab.run(host, ["ip", "link", "add", f"br{number}", "type", "bridge"])
            lab.run(host, ["ip", "link", "set", f"br{number}", "up"])
            lab.run(host, ["ip", "address", "add", f"172.{16 + number}.0.1/16", "dev", f"br{number}"])
        lab_programs.start_node(host, name)
    lab_programs.wait_ready(*hosts)
    lab_programs.start_ping("desk", "laptop", interval=EVERY, count=5).finish()
    paths = [entry["path"] for entry in lab_programs.wait_direct("desk", "laptop")]
    assert all(path["endpoint"].startswith("192.168.") for path in paths)
