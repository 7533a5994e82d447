"""`status`: what the node said, for people and for scripts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.documents import BLOCKED, NO_PORT, OPEN_PORT, RELAYED, document, peer

if TYPE_CHECKING:
    from tests.cli.conftest import Machine

Command = Callable[..., Any]


def test_status_shows_node_server_and_peers(machine: Machine, command: Command) -> None:
    machine.answers["status"] = [
        document(peer(), peer("phone", state="relayed", path=RELAYED, reason=BLOCKED, addresses=["fd00::3"]))
    ]
    ended = command("status")
    assert ended.code == 0
    for word in ("desk", "deskid", "10.86.0.1", "endpoint independent", "known to the server", "just so", "shed"):
        assert word in ended.out
    assert "reached  wss://192.0.2.1:8443  20.0 ms" in ended.out
    laptop = next(line for line in ended.out.splitlines() if line.startswith("laptop"))
    for word in ("10.86.0.2", "direct", "192.0.2.7:4242 12.5 ms"):
        assert word in laptop
    phone = next(line for line in ended.out.splitlines() if line.startswith("phone"))
    for word in ("fd00::3", "relayed: udp blocked", "relay-websocket"):
        assert word in phone


def test_no_nat_is_awaited_where_no_udp_is_used(machine: Machine, command: Command) -> None:
    told = document()
    told["node"] |= {"nat": {"mapping": "unknown"}, "uses_udp": False}
    machine.answers["status"] = [told]
    shown = command("status").out
    assert "does not matter: no UDP is used (--no-udp)" in shown
    assert "not known yet" not in shown


def test_a_server_that_is_not_reached_is_shown_with_what_to_do(machine: Machine, command: Command) -> None:
    told = document()
    told["server"] |= {"state": "backing_off", "reason": "no such name", "remedy": "check the spelling"}
    machine.answers["status"] = [told]
    shown = command("status").out
    assert "no such name" in shown
    assert "what to do    check the spelling" in shown


def test_status_without_peers_says_so(machine: Machine, command: Command) -> None:
    machine.answers["status"] = [document()]
    assert "no peers yet" in command("status").out


def test_no_line_ends_in_blanks(machine: Machine, command: Command) -> None:
    machine.answers["status"] = [document(peer(), peer("a-phone-with-a-long-name", reason=BLOCKED))]
    machine.answers["why"] = [peer()]
    for ended in (command("status"), command("why", "laptop")):
        assert [line for line in ended.out.split("\n") if line != line.rstrip()] == []


AWAY = {"state": "announced", "path": None, "reason": {"code": "peer_offline", "evidence": "gone", "remedy": ""}}


def test_peers_that_have_been_away_for_long_are_only_counted(machine: Machine, command: Command) -> None:
    now = time.time()
    machine.answers["status"] = [
        document(
            peer("fresh", **AWAY, since=now - 60),
            peer("old", **AWAY, since=now - 7200),
            peer("older", **AWAY, since=now - 72000),
        )
    ] * 2
    shown = command("status").out
    assert "2 more offline" in shown
    assert "older" not in shown
    assert next(line for line in shown.splitlines() if line.startswith("fresh")).split()[2] == "offline"
    assert len(json.loads(command("status", "--json").out)["peers"]) == 3


def test_where_all_peers_are_away_there_is_no_empty_table(machine: Machine, command: Command) -> None:
    machine.answers["status"] = [document(peer("old", **AWAY, since=0.0))]
    assert command("status").out.splitlines()[-1].startswith("1 more offline")


def test_status_json_is_what_the_node_said(machine: Machine, command: Command) -> None:
    machine.answers["status"] = [document(peer())]
    ended = command("status", "--json")
    assert json.loads(ended.out) == document(peer())


@pytest.mark.parametrize("argv", [["status"], ["status", "--json"]], ids=["table", "json"])
def test_a_hostile_name_does_not_steer_the_terminal(machine: Machine, command: Command, argv: list[str]) -> None:
    """A peer calls itself what it likes."""
    machine.answers["status"] = [document(peer("\x1b[2J\x9b\x7f[bold]\u202e\n"))]
    ended = command(*argv)
    assert all(line.isprintable() for line in ended.out.split("\n"))
    assert "[bold]" in ended.out


def test_watch_prints_each_status_until_the_node_ends(machine: Machine, command: Command) -> None:
    machine.answers["watch"] = [
        {"status": document(peer(state="punching", path=RELAYED)), "change": None},
        {"status": document(peer()), "change": None},
    ]
    ended = command("status", "--watch")
    assert ended.out.index("relayed, trying the direct way") < ended.out.index("192.0.2.7:4242")
    assert ended.code == 1
    assert "closed the control connection" in ended.err
    assert machine.requests == [{"do": "watch", "every": 1.0}]


def test_watch_in_a_pipe_prints_no_status_twice(machine: Machine, command: Command) -> None:
    told = [document(peer(idle_s=float(idle))) for idle in range(3)]
    for seconds, status in enumerate(told):
        status["node"]["port_mappings"] = [{**OPEN_PORT, "lease_s": 7200 - seconds}]
    machine.answers["watch"] = [{"status": status, "change": None} for status in told]
    assert command("status", "--watch").out.count("deskid") == 1
    unused = document(peer(idle_s=60.0))
    machine.answers["watch"] = [{"status": status, "change": None} for status in (told[0], unused)]
    assert command("status", "--watch").out.count("deskid") == 2, "that a path falls idle is news"


def test_watch_json_prints_one_document_a_line(machine: Machine, command: Command) -> None:
    machine.answers["watch"] = [{"status": document(peer(), name=name), "change": None} for name in ("one", "two")]
    ended = command("status", "--watch", "--json")
    assert [json.loads(line)["node"]["name"] for line in ended.out.splitlines()] == ["one", "two"]
    assert machine.requests == [{"do": "watch"}]


def test_status_shows_the_port_that_a_gateway_opened(machine: Machine, command: Command) -> None:
    told = document()
    told["node"]["port_mappings"] = [OPEN_PORT, {**NO_PORT, "family": "ipv6"}]
    machine.answers["status"] = [told]
    said = command("status").out
    assert "198.51.100.4:40000 by upnp, for 2 h" in said
    assert "no UPnP gateway" not in said


def test_an_idle_relayed_peer_does_not_look_broken(machine: Machine, command: Command) -> None:
    idle = peer(state="relayed", path=None, reason=BLOCKED)
    machine.answers.update({"status": [document(idle)], "why": [idle]})
    for ended in (command("status"), command("why", "laptop")):
        assert "none now, the next packet brings it back" in ended.out
    lost = peer(state="relayed", path=None, reason={**BLOCKED, "code": "peer_offline"})
    machine.answers["why"] = [lost]
    assert "brings it back" not in command("why", "laptop").out
