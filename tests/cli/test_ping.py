"""`ping` measures, waits and gives up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import trio.testing
from tests.cli.documents import DIRECT, document, peer

if TYPE_CHECKING:
    from tests.cli.conftest import Machine

Command = Callable[..., Any]


SILENT = {"ok": False, "code": "peer_unreachable", "error": "laptop did not answer for 5 s"}


def test_ping_prints_round_trip_and_path(
    machine: Machine, command: Command, virtual_time: trio.testing.MockClock
) -> None:
    machine.answers["status"] = [document()]
    machine.answers["ping"] = [{"rtt_ms": 12.5, "path": DIRECT}, SILENT, {"rtt_ms": 80.25, "path": None}]
    ended = command("ping", "laptop")
    assert ended.out.splitlines() == [
        "laptop: 12.5 ms over direct 192.0.2.7:4242",
        "laptop: laptop did not answer for 5 s",
        "laptop: 80.2 ms over unknown path",
        "1 of 3 unanswered",
    ]
    assert ended.code == 0


def test_a_ping_without_any_answer_fails(
    machine: Machine, command: Command, virtual_time: trio.testing.MockClock
) -> None:
    machine.answers.update({"status": [document()], "why": [peer(), peer()], "ping": [SILENT, SILENT]})
    ended = command("ping", "laptop", "--count", "2", "--interval", "0.5")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.endswith("2 of 2 unanswered\n")


NO_WAY = {"ok": False, "code": "peer_unreachable", "error": "no way to 'laptop': no link to the server (refused)"}
UNKNOWN = {"ok": False, "code": "peer_unreachable", "error": "no peer 'nobody' here; known: laptop"}


def test_a_peer_without_any_way_is_not_pinged_again(machine: Machine, command: Command) -> None:
    """Each try waits half a minute."""
    machine.answers.update({"status": [document()], "why": [peer(path=None)], "ping": [NO_WAY]})
    ended = command("ping", "laptop")
    next_step = "; see `p2ptunnel-trio why laptop`"
    assert (ended.code, ended.out, ended.err) == (1, "", f"p2ptunnel-trio: {NO_WAY['error']}{next_step}\n")


def test_a_ping_of_nobody_is_one_line(machine: Machine, command: Command) -> None:
    machine.answers.update({"status": [document()], "why": [UNKNOWN], "ping": [UNKNOWN]})
    ended = command("ping", "nobody")
    assert (ended.code, ended.out, ended.err) == (1, "", f"p2ptunnel-trio: {UNKNOWN['error']}\n")


def test_a_ping_that_waits_for_the_server_says_so_at_once(machine: Machine, command: Command) -> None:
    server = {"url": "wss://192.0.2.1:8443", "state": "backing_off", "rtt_ms": None, "reason": "connection refused"}
    down = {**document(), "server": server}
    machine.answers.update({"status": [down], "why": [peer(path=None)] * 2, "ping": [NO_WAY]})
    ended = command("ping", "laptop")
    assert ended.err.splitlines()[0] == (
        "no link to the server (connection refused): waiting for it, or for a direct path"
    )
    answer = {"rtt_ms": 12.5, "path": DIRECT}
    machine.answers.update({"status": [down], "why": [peer()], "ping": [answer]})
    assert command("ping", "laptop", "--count", "1").err == "", "a direct path needs no server"


@pytest.mark.parametrize("argv", [["--count", "0"], ["--interval", "-1"], ["--interval", "nan"]], ids=" ".join)
def test_a_senseless_ping_is_a_usage_error(machine: Machine, command: Command, argv: list[str]) -> None:
    assert command("ping", "laptop", *argv).code == 2
    assert machine.sockets == []
