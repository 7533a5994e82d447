"""What the running programs may do, told by the kernel, and that it is enough for all that they do later."""

from __future__ import annotations

import os
import select
import subprocess
import time
from pathlib import Path

import pytest
from tests.journeys.conftest import BUSY, OpenLabPrograms, Pair

from tunnel.network.os.upnp_client import PATIENCE
from tunnel.verify.netlab import SiteSpec

pytestmark = pytest.mark.netlab

NONE = "0" * 16
NET_ADMIN = f"{1 << 12:016x}"


@pytest.fixture(scope="module")
def pair(open_lab_programs: OpenLabPrograms) -> Pair:
    """A desk and a till with interfaces, and a laptop without."""
    lab, lab_programs = open_lab_programs(SiteSpec("home"), SiteSpec("office"), SiteSpec("shop"))
    lab_programs.start_node(lab.sites["home"].host, "desk")
    lab_programs.start_node(lab.sites["office"].host, "laptop", "--userspace=python")
    lab_programs.start_node(lab.sites["shop"].host, "till")
    lab_programs.wait_ready("desk", "laptop", "till")
    return lab, lab_programs


def threads_of(pid: int) -> list[dict[str, str]]:
    """What /proc says of each thread of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        found.append({name: rest.strip() for name, _, rest in (line.partition(":") for line in lines)})
    return found


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def core_limit(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max core file size")).split()[4:6]


@pytest.mark.parametrize(("name", "kept"), [("desk", NET_ADMIN), ("laptop", NONE), ("server", NONE)])
def test_a_node_keeps_the_right_to_its_interface_and_the_server_none(pair: Pair, name: str, kept: str) -> None:
    """In all threads and sets; and nothing that they could start would have even that."""
    lab_programs = pair[1]
    lab_programs.command("desk", "ping", "laptop")
    process = lab_programs.server if name == "server" else lab_programs.nodes[name].process
    assert process is not None
    for thread in threads_of(process.pid):
        sets = {each: thread[each] for each in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        assert sets == {"CapInh": NONE, "CapPrm": kept, "CapEff": kept, "CapBnd": NONE, "CapAmb": NONE}
        assert thread["NoNewPrivs"] == "1"
    assert core_limit(process.pid) == ["0", "0"]


def test_a_node_without_an_interface_is_shown_as_that_and_the_system_s_ping_to_it_ends_at_once(pair: Pair) -> None:
    lab, lab_programs = pair
    desk, address = lab_programs.nodes["desk"], lab_programs.address("laptop")
    for argv in (["status"], ["why", "laptop"]):
        assert "no IP" in lab_programs.command("desk", *argv) or "none: no interface there" in lab_programs.command(
            "desk", *argv
        )
    assert "none: no interface here" in lab_programs.command("laptop", "status")
    six = next(one for one in lab_programs.status("laptop")["node"]["addresses"] if ":" in one)
    for wanted, told in ((address, "Destination Host Unreachable"), (six, "Address unreachable")):
        began = time.monotonic()
        done = subprocess.run(
            lab.command(desk.host, ["ping", "-n", "-c", "1", "-w", "30", wanted]),
            check=False,
            capture_output=True,
            text=True,
        )
        assert time.monotonic() - began < BUSY
        assert (done.returncode, told in done.stdout) == (1, True)
    lab_programs.command("desk", "ping", "laptop")


@pytest.mark.upnp
def test_the_process_for_upnp_is_nobody_and_nothing_else_is_started(pair: Pair) -> None:
    (child,) = children_of(pair[1].nodes["desk"].process.pid)
    status = threads_of(child)[0]
    assert (status["Uid"], status["CapEff"], status["NoNewPrivs"]) == ("\t".join(["65534"] * 4), NONE, "1")


@pytest.mark.parametrize("which", ["node", "server", "another program"])
def test_a_process_with_the_same_user_and_rights_cannot_look_into_it(pair: Pair, which: str) -> None:
    """Else whatever else root runs without the rights of root has the keys."""
    lab_programs = pair[1]
    assert lab_programs.server is not None
    confined = ["setpriv", "--bounding-set=-all,+net_admin"]
    with subprocess.Popen([*confined, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(b"ready")
        other.stdin.flush()
        assert other.stdout.read(5) == b"ready"
        pid = {"node": lab_programs.nodes["desk"].process, "server": lab_programs.server, "another program": other}[
            which
        ].pid
        looked = subprocess.run([*confined, "cat", f"/proc/{pid}/environ"], check=False, capture_output=True)
        other.stdin.close()
    assert (looked.returncode == 0) is (which == "another program")


def test_another_lease_gets_its_interface_and_the_end_leaves_nothing(pair: Pair) -> None:
    """All of it long after the rights were given up."""
    lab, lab_programs = pair
    before = lab_programs.address("desk")
    lab_programs.kill_server()
    lab_programs.start_server("--addresses", "10.99.0.0/16")
    lab_programs.wait_status(
        "desk", lambda status: before not in status["node"]["addresses"], "given another lease", 60
    )
    lab_programs.wait_status("till", lambda status: str(status["node"]["addresses"]).find("10.99.") >= 0, "leased", 60)
    lab_programs.wait_ready("desk", "till")
    pings = lab_programs.start_ping("desk", "till", count=10).finish()
    assert len(pings.answers) >= 8
    assert (lab_programs.state("desk") / "lease").read_text().startswith("10.99.")
    desk = lab_programs.nodes["desk"]
    desk.process.terminate()
    assert desk.process.wait(timeout=10) == 0
    assert desk.tun not in lab.run(desk.host, ["ip", "-o", "link"])
    assert not desk.control.exists()


@pytest.mark.upnp
def test_the_process_for_upnp_ends_after_its_node(pair: Pair) -> None:
    node = pair[1].nodes["till"].process
    (child,) = children_of(node.pid)
    with open(os.pidfd_open(child), "rb") as ending:
        node.terminate()
        assert node.wait(timeout=10) == 0
        assert select.select([ending], [], [], PATIENCE + BUSY)[0]
