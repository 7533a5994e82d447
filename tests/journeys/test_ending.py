"""Every way to end a node is a farewell: its peers hear it at once, and nothing of it is left in the kernel."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from tests.journeys.conftest import Pair

from tunnel.model.errors import DeviceError
from tunnel.verify.netlab.programs import COMMAND, Running

pytestmark = pytest.mark.netlab


def has_interface(pair: Pair, name: str) -> bool:
    lab, lab_programs = pair
    running = lab_programs.nodes[name]
    return running.tun in lab.run(running.host, ["ip", "-o", "link"])


def has_left(peer: dict[str, Any]) -> bool:
    return peer["reason"] is not None and peer["reason"]["evidence"] == "it left the network"


@pytest.mark.parametrize("how", ["down", "SIGTERM", "SIGHUP"])
def test_its_peer_hears_it_at_once_and_its_interface_is_gone(pair: Pair, how: str) -> None:
    lab_programs = pair[1]
    lab_programs.start_ping("laptop", "desk", count=3).finish()
    running = lab_programs.nodes["desk"]
    lab_programs.wait_peer("laptop", "desk", lambda peer: not has_left(peer), "here")
    assert has_interface(pair, "desk")
    if how == "down":
        assert lab_programs.command("desk", "down") == "desk is down\n"
    else:
        running.process.send_signal(signal.Signals[how])
    assert running.process.wait(timeout=20) == 0
    assert not has_interface(pair, "desk")
    assert not running.control.exists()
    lab_programs.wait_peer("laptop", "desk", has_left, "gone", patience=3.0)
    lab_programs.restart_node("desk")
    lab_programs.wait_ready("desk", "laptop")


def test_a_second_node_on_the_same_folder_ends_with_a_line_that_names_the_first(pair: Pair) -> None:
    lab_programs = pair[1]
    state, invite = str(lab_programs.state("desk")), str(lab_programs.make_invite())
    with pytest.raises(DeviceError) as caught:
        lab_programs.command("desk", "up", "--userspace", "--invite-file", invite, "--state", state)
    process = lab_programs.nodes["desk"].process.pid
    assert f"a node runs on the state folder {state} already (process {process})" in str(caught.value)
    assert lab_programs.status("desk")["server"]["state"] == "registered"


def test_output_that_cannot_be_written_keeps_nobody_from_running_or_ending_well(pair: Pair) -> None:
    """It has given up the right to write elsewhere by then."""
    lab, lab_programs = pair
    host, state = lab.sites["office"].host, lab_programs.state("attic")
    invite = str(lab_programs.make_invite())
    argv = [*COMMAND, "up", "--userspace", "--name", "attic", "--invite-file", invite, "--state", str(state)]
    with open("/dev/full", "wb") as full:
        process = lab.popen(host, [*argv, "--no-default-stun"], stdout=full, stderr=full)
    lab_programs.nodes["attic"] = Running("attic", host, process, state / "control.sock", "")
    lab_programs.wait_status("attic", lambda status: status["server"]["state"] == "registered", "registered")
    lab_programs.command("attic", "ping", "laptop", "--count", "1")
    assert lab_programs.command("attic", "down") == "attic is down\n"
    assert process.wait(timeout=20) == 0


def test_netcheck_ends_with_a_verdict_that_holds(pair: Pair) -> None:
    """Behind a NAT of the usual kind, with a peer behind another one: they are direct."""
    lab_programs = pair[1]
    assert (
        lab_programs.command("desk", "netcheck")
        .splitlines()[-1]
        .startswith("verdict  most peers will reach you directly")
    )
    lab_programs.start_ping("laptop", "desk", count=5).finish()
    lab_programs.wait_direct("desk", "laptop")
