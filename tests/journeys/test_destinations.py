"""How far a member gets into another's machine: to its tunnel addresses, not to what else its kernel knows a way to."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.journeys.conftest import BUSY, OpenLabPrograms, Pair

from tunnel.verify.netlab import Host, Lab, SiteSpec

pytestmark = pytest.mark.netlab

TRESPASSER = [sys.executable, str(Path(__file__).with_name("trespasser.py"))]
PORT = 7777
LAN, LAN6 = "192.168.99", "2a99::"
"""A LAN behind the laptop, which forwards."""
LISTENER = f"""
import socket
listening = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
listening.bind(("::", {PORT}))
listening.settimeout({BUSY})
print("ready", flush=True)
word = ""
while word != "true-ends":
    word = listening.recv(65536)[:40].decode().strip()
    print(word, flush=True)
"""
SENDER = """
import socket, sys
tun, port, *sendings = sys.argv[1:]
for sending in sendings:
    host, _, word = sending.partition("=")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, tun.encode())
        if ":" not in host:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.sendto(word.encode(), (host, int(port)))
        if not word.startswith("true"):
            sender.sendto(word.encode().ljust(3000), (host, int(port)))
"""


@pytest.fixture(scope="module")
def pair(open_lab_programs: OpenLabPrograms) -> Pair:
    """A desk that sends everything to the laptop, and a laptop that forwards into a LAN of its own."""
    lab, lab_programs = open_lab_programs(SiteSpec("home", ipv6=True), SiteSpec("office", ipv6=True))
    laptop = lab.sites["office"].host
    for argv in (
        ["ip", "link", "add", "lan", "type", "veth", "peer", "name", "neighbor"],
        ["ip", "addr", "add", f"{LAN}.1/24", "dev", "lan"],
        ["ip", "addr", "add", f"{LAN6}1/64", "dev", "lan", "nodad"],
        ["ip", "link", "set", "lan", "up"],
        ["ip", "link", "set", "neighbor", "up"],
        ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"],
        ["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.icmp_echo_ignore_broadcasts=0"],
        ["nft", "add table inet watch; add chain inet watch lan { type filter hook postrouting priority 0; };"],
        ["nft", f'add rule inet watch lan oifname "lan" udp dport {PORT} counter'],
    ):
        lab.run(laptop, argv)
    lab_programs.start_node(lab.sites["home"].host, "desk", command=TRESPASSER)
    lab_programs.start_node(laptop, "laptop")
    lab_programs.wait_ready("desk", "laptop")
    lab_programs.start_ping("desk", "laptop", count=5).finish()
    lab_programs.wait_direct("desk", "laptop")
    return lab, lab_programs


@contextmanager
def listening(lab: Lab, host: Host) -> Iterator[Iterator[str]]:
    """What arrives at PORT of any address of a host, word by word, until the last or some seconds of silence."""
    process = lab.popen(host, [sys.executable, "-c", LISTENER], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield (line.decode().strip() for line in process.stdout)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def forwarded(lab: Lab, host: Host) -> int:
    """Packets that have left into the laptop's LAN."""
    text = lab.run(host, ["nft", "list", "chain", "inet", "watch", "lan"])
    return int(text.partition("packets ")[2].split()[0])


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_member_reaches_the_tunnel_addresses_of_a_machine_and_nothing_else(
    pair: Pair, family: socket.AddressFamily
) -> None:
    """Neither a LAN behind it nor a service at its other addresses, by whole packets, fragments or to everybody."""
    lab, lab_programs = pair
    desk, laptop = lab_programs.nodes["desk"], lab_programs.nodes["laptop"]
    is_ipv6 = family is socket.AF_INET6
    addresses = lab_programs.status("laptop")["node"]["addresses"]
    tunnel_address = next(one for one in addresses if (":" in one) is is_ipv6)
    if is_ipv6:
        elsewhere = [f"{LAN6}7", f"{LAN6}1", "ff02::1", "ff05::1"]
    else:
        elsewhere = [f"{LAN}.7", f"{LAN}.1", "224.0.0.1", "255.255.255.255", "10.86.255.255"]
    lab.run(desk.host, ["ip", "route", "add", f"{LAN6}/64" if is_ipv6 else f"{LAN}.0/24", "dev", desk.tun])
    with listening(lab, laptop.host) as words:
        sendings = [f"{host}=trespass-{host}" for host in elsewhere]
        for argv in ([f"{tunnel_address}=true-begins"], sendings, [f"{tunnel_address}=true-ends"]):
            lab.run(desk.host, [sys.executable, "-c", SENDER, desk.tun, str(PORT), *argv])
        assert list(words) == ["true-begins", "true-ends"]
    assert forwarded(lab, laptop.host) == 0
