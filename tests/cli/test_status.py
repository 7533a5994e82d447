"""`status`, `why`, `ping`, `netcheck`: what the node said, for people and for scripts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio.testing

if TYPE_CHECKING:
    from tests.cli.conftest import Machine

Command = Callable[..., Any]
NAT = {
    "mapping": "endpoint_independent",
    "filtering": "unknown",
    "allocation": "preserving",
    "hairpin": "unknown",
    "udp": "open",
    "port_mapping": "none",
}
OPEN_PORT = {
    "family": "ipv4",
    "state": "mapped",
    "protocol": "upnp",
    "gateway": "192.168.1.1",
    "external": "198.51.100.4:40000",
    "lease_s": 7200,
    "note": "",
}
NO_PORT = {
    **OPEN_PORT,
    "state": "unsupported",
    "protocol": None,
    "gateway": None,
    "external": None,
    "lease_s": None,
    "note": "upnp: no UPnP gateway answers",
}
DIRECT = {"kind": "direct", "endpoint": "192.0.2.7:4242", "rtt_ms": 12.5, "mtu": 1360}
RELAYED: dict[str, Any] = {"kind": "relay-websocket", "endpoint": None, "rtt_ms": None, "mtu": 1360}


def peer(name: str = "laptop", **changed: Any) -> dict[str, Any]:
    """A peer as the node tells it."""
    return {
        "id": "laptopid",
        "name": name,
        "addresses": ["fd00::2", "10.86.0.2"],
        "state": "connected",
        "path": DIRECT,
        "reason": None,
        "since": 0.0,
        "tx_bytes": 1500,
        "rx_bytes": 7,
        "idle_s": 1.0,
        "history": [{"at": 0.0, "from": "punching", "event": "path_verified", "to": "connected"}],
        **changed,
    }


BLOCKED = {"code": "udp_blocked", "evidence": "eleven asked, none answered", "remedy": "Let UDP leave."}


def document(*peers: dict[str, Any], name: str = "desk") -> dict[str, Any]:
    """`status --json`."""
    return {
        "version": 1,
        "node": {
            "id": "deskid",
            "name": name,
            "addresses": ["10.86.0.1"],
            "nat": NAT,
            "port_mappings": [],
            "announcement": "acknowledged",
            "notes": ["the address 10.86.0.1 is claimed by shed too"],
        },
        "server": {"url": "wss://192.0.2.1:8443", "state": "registered", "rtt_ms": 20.0, "reason": "just so"},
        "peers": list(peers),
    }


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


def test_a_server_that_is_not_reached_is_told_with_what_to_do(machine: Machine, command: Command) -> None:
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


def test_who_has_been_away_for_long_is_only_counted(machine: Machine, command: Command) -> None:
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


def test_a_house_where_all_are_away_has_no_empty_table(machine: Machine, command: Command) -> None:
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


def test_why_tells_reason_evidence_remedy_and_history(machine: Machine, command: Command) -> None:
    machine.answers["why"] = [peer(state="relayed", path=RELAYED, reason=BLOCKED)]
    ended = command("why", "laptop")
    assert ended.code == 0
    for word in ("relayed", "udp_blocked", "eleven asked", "Let UDP leave.", "punching -> connected", "path_verified"):
        assert word in ended.out
    assert machine.requests == [{"do": "why", "peer": "laptop"}]


def test_why_of_a_direct_peer_needs_no_reason(machine: Machine, command: Command) -> None:
    machine.answers["why"] = [peer(history=[])]
    assert "none needed" in command("why", "laptop").out


def test_why_of_an_idle_direct_peer_says_that_its_path_is_kept(machine: Machine, command: Command) -> None:
    machine.answers["why"] = [peer(path=None, kept_path=DIRECT, idle_s=600.0)]
    said = command("why", "laptop").out
    assert "direct, idle" in said
    assert "direct 192.0.2.7:4242" in said
    assert "none needed: the direct path is kept open" in said


@pytest.mark.parametrize("state", ["detecting", "announced"])
def test_why_of_a_peer_to_which_nothing_was_sent_says_what_connects(
    machine: Machine, command: Command, state: str
) -> None:
    machine.answers["why"] = [peer(state=state, path=None, history=[], tx_bytes=0, rx_bytes=0)]
    assert "nothing was sent to it yet; `p2ptunnel-trio ping laptop` connects" in command("why", "laptop").out


def test_an_unknown_peer_is_a_failure_in_one_line(machine: Machine, command: Command) -> None:
    machine.answers["why"] = [{"ok": False, "code": "peer_unreachable", "error": "no peer is called 'x'\x1b"}]
    ended = command("why", "x")
    assert (ended.code, ended.err) == (1, "p2ptunnel-trio: no peer is called 'x'\\x1b\n")


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> trio.testing.MockClock:
    """Every `trio.run` of the command runs on this clock."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    real_run = trio.run
    monkeypatch.setattr(trio, "run", lambda *args: real_run(*args, clock=clock))
    return clock


SILENT = {"ok": False, "code": "peer_unreachable", "error": "laptop did not answer for 5 s"}


def test_ping_tells_round_trip_and_path(
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


SURVEY: dict[str, Any] = {
    "version": 1,
    "nat": NAT,
    **NAT,
    "step": None,
    "load": None,
    "block": None,
    "lifetime": None,
    "keepalive": 15.0,
    "heard": {"other_address": "void", "other_port": "void"},
    "ipv6": {"address": False, "reached": None, "filtering": "unknown"},
    "captive_portal": "no",
    "port_mappings": [NO_PORT],
    "reflexive": ["198.51.100.4:40000"],
    "answers": [{"server": "stun.test:3478", "mapped": "198.51.100.4:40000", "rtt_ms": 20.0}],
    "silent": ["mute.test:3478"],
    "observers": 1,
    "unresolved": ["stun.gone.example:3478"],
    "servers": [],
    "second_opinion": {"classic": "Symmetric NAT", "note": "", "agrees": False},
}


def test_netcheck_tells_the_nat_and_the_servers(machine: Machine, command: Command) -> None:
    machine.answers["netcheck"] = [SURVEY]
    ended = command("netcheck")
    assert ended.code == 0
    for word in (
        "endpoint independent",
        "198.51.100.4:40000",
        "20.0 ms",
        "mute.test:3478",
        "stun.gone.example",
        "DISAGREES",
    ):
        assert word in ended.out
    machine.answers["netcheck"] = [SURVEY]
    assert json.loads(command("netcheck", "--json").out) == SURVEY


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        (OPEN_PORT, "198.51.100.4:40000 by upnp, for 2 h"),
        ({**OPEN_PORT, "lease_s": None}, "until we leave"),
        ({**OPEN_PORT, "external": "10.0.0.4:40000", "note": "another NAT"}, "another NAT"),
        ({**OPEN_PORT, "family": "ipv6", "external": "[2001:db8::4]:40000"}, "ipv6 pinhole"),
        (NO_PORT, "upnp: no UPnP gateway answers"),
        ({**NO_PORT, "state": "probing", "note": ""}, "asking"),
        (None, "not asked for"),
    ],
)
def test_netcheck_tells_what_a_gateway_opened_or_why_it_did_not(
    machine: Machine, command: Command, mapping: dict[str, Any] | None, words: str
) -> None:
    machine.answers["netcheck"] = [{**SURVEY, "port_mappings": [] if mapping is None else [mapping]}]
    assert words in " ".join(command("netcheck").out.split())


def test_status_tells_the_port_that_a_gateway_opened(machine: Machine, command: Command) -> None:
    told = document()
    told["node"]["port_mappings"] = [OPEN_PORT, {**NO_PORT, "family": "ipv6"}]
    machine.answers["status"] = [told]
    said = command("status").out
    assert "198.51.100.4:40000 by upnp, for 2 h" in said
    assert "no UPnP gateway" not in said


@pytest.mark.parametrize("argv", [[], ["--json"]], ids=["table", "json"])
def test_a_netcheck_that_nobody_answers_is_3(machine: Machine, command: Command, argv: list[str]) -> None:
    machine.answers["netcheck"] = [{**SURVEY, "answers": [], "reflexive": [], "second_opinion": None}]
    ended = command("netcheck", *argv)
    assert (ended.code, ended.err) == (3, "")
    assert "mute.test:3478" in ended.out


@pytest.mark.parametrize("argv", [["status"], ["why", "x"], ["ping", "x"], ["netcheck"]], ids=lambda argv: argv[0])
def test_a_state_folder_leads_to_the_socket_in_it(machine: Machine, command: Command, argv: list[str]) -> None:
    """As it does for `up`."""
    command(*argv, "--state", "/srv/a")
    command(*argv, "--state", "/srv/a", "--control", "/srv/b.sock")
    assert machine.sockets == [Path("/srv/a/control.sock"), Path("/srv/b.sock")]


@pytest.mark.parametrize("argv", [["status"], ["why", "x"], ["ping", "x"], ["netcheck"], ["status", "--watch"]])
def test_without_a_node_the_remedy_is_named(machine: Machine, command: Command, argv: list[str]) -> None:
    ended = command(*argv, "--control", "/nowhere/c.sock")
    assert ended.code == 1
    assert "no node answers at /nowhere/c.sock" in ended.err
    assert machine.sockets == [Path("/nowhere/c.sock")]


def test_an_idle_relayed_peer_does_not_look_broken(machine: Machine, command: Command) -> None:
    idle = peer(state="relayed", path=None, reason=BLOCKED)
    machine.answers.update({"status": [document(idle)], "why": [idle]})
    for ended in (command("status"), command("why", "laptop")):
        assert "none now, the next packet brings it back" in ended.out
    lost = peer(state="relayed", path=None, reason={**BLOCKED, "code": "peer_offline"})
    machine.answers["why"] = [lost]
    assert "brings it back" not in command("why", "laptop").out
