"""Nodes without any privilege, each in a network namespace of its own: whole members, by IP."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.journeys.conftest import BUSY, OpenLabPrograms, Pair
from tests.journeys.test_privileges import NET_ADMIN, NONE, children_of, threads_of

from tunnel.verify.netlab import Kind, SiteSpec
from tunnel.verify.netlab.programs import COMMAND, Running

pytestmark = pytest.mark.netlab

UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")
NODES = ("desk", "laptop", "phone")
SIZE = 4_000_000

RECEIVER = """
import hashlib, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], 7000), family=family) as bound:
    print("ready", flush=True)
    bound.settimeout(30)
    stream, _ = bound.accept()
    digest = hashlib.sha256()
    while piece := stream.recv(1 << 16):
        digest.update(piece)
    stream.sendall(digest.digest())
"""
SENDER = """
import hashlib, os, socket, sys
data = os.urandom(int(sys.argv[2]))
with socket.create_connection((sys.argv[1], 7000), timeout=30) as stream:
    stream.sendall(data)
    stream.shutdown(socket.SHUT_WR)
    answer = bytearray()
    while piece := stream.recv(64):
        answer += piece
assert bytes(answer) == hashlib.sha256(data).digest()
"""


@pytest.fixture(scope="module")
def trio_of_nodes(open_lab_programs: OpenLabPrograms) -> Pair:
    """A desk with root's interface, a laptop and a phone without any right; one NAT is hard."""
    lab, lab_programs = open_lab_programs(SiteSpec("home"), SiteSpec("office"), SiteSpec("street", Kind.SYMMETRIC))
    lab_programs.start_node(lab.sites["home"].host, "desk")
    for site, name in (("office", "laptop"), ("street", "phone")):
        lab_programs.start_node(lab.sites[site].host, name, command=(*UNPRIVILEGED, *COMMAND), chooses=True)
    lab_programs.wait_ready(*NODES)
    return lab, lab_programs


def child_of(node: Running) -> int:
    """The process that holds the node's namespace."""
    for child in children_of(node.process.pid):
        if b"namespace_child" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    raise AssertionError("no such process")


def inside(pair: Pair, name: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs a program where the node's interface is."""
    lab, lab_programs = pair
    node = lab_programs.nodes[name]
    if name == "desk":
        return lab.command(node.host, argv)
    return ["nsenter", f"--net=/proc/{child_of(node)}/ns/net", *argv]


def address_of(pair: Pair, name: str, *, is_ipv6: bool) -> str:
    pair[1].address(name)  # once it has one of both families
    addresses = pair[1].status(name)["node"]["addresses"]
    return str(next(one for one in addresses if (":" in one) is is_ipv6))


def transfer(pair: Pair, source: str, destination: str, *, is_ipv6: bool, size: int = SIZE) -> None:
    """By programs of the operating system, which know nothing of the tunnel."""
    address = address_of(pair, destination, is_ipv6=is_ipv6)
    receiving = inside(pair, destination, [sys.executable, "-c", RECEIVER, address])
    with subprocess.Popen(receiving, stdout=subprocess.PIPE) as receiver:
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == b"ready\n"
        subprocess.run(inside(pair, source, [sys.executable, "-c", SENDER, address, str(size)]), check=True, timeout=60)
        assert receiver.wait(timeout=10) == 0


def test_up_without_the_right_to_an_interface_has_one_of_its_own_and_says_why(trio_of_nodes: Pair) -> None:
    _, lab_programs = trio_of_nodes
    node = lab_programs.status("laptop")["node"]
    assert (node["takes_ip"], node["interface"]["kind"], node["interface"]["name"]) == (True, "namespace", "p2pt0")
    assert node["interface"]["reason"].startswith("no right to make the interface p2pt0: run as root")
    assert "--userspace" not in node["interface"]["reason"]
    assert {"tun-header", "tso", "uso"} <= set(node["offloads"])
    assert "p2pt0, in a network namespace of this node's own" in lab_programs.command("laptop", "status")
    assert lab_programs.log("laptop").count("the interface is of kind namespace: no right to make") == 1
    desk = lab_programs.status("desk")["node"]["interface"]
    assert desk == {"kind": "kernel", "name": lab_programs.nodes["desk"].tun, "reason": None}


@pytest.mark.parametrize("is_ipv6", [False, True], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(
    ("source", "destination"), [("desk", "laptop"), ("laptop", "desk"), ("laptop", "phone"), ("phone", "laptop")]
)
def test_programs_reach_each_other_by_tcp(trio_of_nodes: Pair, source: str, destination: str, is_ipv6: bool) -> None:
    transfer(trio_of_nodes, source, destination, is_ipv6=is_ipv6)


def test_the_system_s_ping_is_answered(trio_of_nodes: Pair) -> None:
    pings = trio_of_nodes[1].start_ping("desk", "laptop", count=5).finish()
    assert len(pings.answers) == 5


def test_the_node_keeps_no_right_and_its_child_only_that_over_the_namespace(trio_of_nodes: Pair) -> None:
    node = trio_of_nodes[1].nodes["laptop"]
    for pid, kept in ((node.process.pid, NONE), (child_of(node), NET_ADMIN)):
        for thread in threads_of(pid):
            sets = {each: thread[each] for each in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
            assert sets == {"CapInh": NONE, "CapPrm": kept, "CapEff": kept, "CapBnd": NONE, "CapAmb": NONE}
            assert thread["NoNewPrivs"] == "1"


def test_nothing_listens_there_and_nothing_of_the_machine_is_reached_from_there(trio_of_nodes: Pair) -> None:
    """Not even what listens on all addresses of the laptop's machine."""
    lab, lab_programs = trio_of_nodes
    everywhere = lab.command(lab_programs.nodes["laptop"].host, [sys.executable, "-c", RECEIVER, "0.0.0.0"])
    with subprocess.Popen(everywhere, stdout=subprocess.PIPE) as listening:
        assert listening.stdout is not None
        assert listening.stdout.readline() == b"ready\n"
        address = address_of(trio_of_nodes, "laptop", is_ipv6=False)
        knocking = inside(trio_of_nodes, "desk", [sys.executable, "-c", SENDER, address, "1"])
        refused = subprocess.run(knocking, check=False, capture_output=True, text=True, timeout=60)
        listening.kill()
    assert "ConnectionRefusedError" in refused.stderr


def test_netcheck_shows_what_would_give_it_an_interface_of_the_machine(trio_of_nodes: Pair) -> None:
    shown = " ".join(trio_of_nodes[1].command("laptop", "netcheck").split())
    assert "interface" in shown
    assert "run as root" in shown


def test_another_process_holds_the_namespace_when_that_one_is_killed(trio_of_nodes: Pair) -> None:
    """It may not open any program but that one by then. What runs in the namespace does not notice."""
    _, lab_programs = trio_of_nodes
    former = child_of(lab_programs.nodes["laptop"])
    network = os.readlink(f"/proc/{former}/ns/net")
    os.kill(former, signal.SIGKILL)
    lab_programs.wait_status(
        "laptop",
        lambda status: "the process that makes its sockets: it was put back" in str(status["node"]["notes"]),
        "told of it",
        BUSY + 5,
    )
    assert child_of(lab_programs.nodes["laptop"]) != former
    assert os.readlink(f"/proc/{child_of(lab_programs.nodes['laptop'])}/ns/net") == network
    transfer(trio_of_nodes, "desk", "laptop", is_ipv6=False, size=1000)


def test_another_lease_gets_there_and_the_end_leaves_nothing(trio_of_nodes: Pair) -> None:
    _, lab_programs = trio_of_nodes
    before = lab_programs.address("laptop")
    lab_programs.kill_server()
    lab_programs.start_server("--addresses", "10.99.0.0/16")
    for name in ("desk", "laptop"):
        lab_programs.wait_status(
            name, lambda status: "10.99." in str(status["node"]["addresses"]), "given another lease", 60
        )
    assert before != lab_programs.address("laptop")
    lab_programs.wait_ready("desk", "laptop")
    transfer(trio_of_nodes, "desk", "laptop", is_ipv6=False, size=1000)
    node = lab_programs.nodes["laptop"]
    ending = os.pidfd_open(child_of(node))
    try:
        node.process.terminate()
        assert node.process.wait(timeout=10) == 0
        assert select.select([ending], [], [], BUSY)[0], "its child goes on"
    finally:
        os.close(ending)
