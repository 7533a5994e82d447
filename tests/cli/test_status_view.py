"""`status` for people: nothing that one may want to copy is ever cut, however narrow the terminal."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console
from tests.cli.documents import BLOCKED, DIRECT, RELAYED, document, peer

from tunnel.cli.layout import Trimmed
from tunnel.cli.status_view import status_view

IPV6 = "fd9a:3306:da8b:d769:29d4:7d91:8475:139c"
LONG = {
    "kind": "direct",
    "endpoint": "[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
    "rtt_ms": 1234.5,
    "mtu": 1400,
    "path_mtu": 1500,
}
UDP_RELAY = {"kind": "relay-udp", "endpoint": "203.0.113.5:3478", "rtt_ms": 43.0, "mtu": 1400, "path_mtu": 1500}


def shown(width: int, *peers: dict[str, Any]) -> list[str]:
    console = Console(width=width, highlight=False, force_terminal=False)
    with console.capture() as capture:
        console.print(Trimmed(status_view(document(*peers), 100.0)))
    return capture.get().splitlines()


EVERYBODY = (
    peer("laptop"),
    peer("a-phone-with-a-long-name", path=LONG, addresses=[IPV6, "10.86.203.239"]),
    peer("shed", state="relayed", path=UDP_RELAY, reason={**BLOCKED, "code": "probes_unanswered"}),
    peer("x" * 63, state="relayed", path=RELAYED, reason=BLOCKED, addresses=[IPV6]),
)


@pytest.mark.parametrize("width", [80, 140, 240])
def test_addresses_endpoints_and_paths_are_whole(width: int) -> None:
    lines = shown(width, *EVERYBODY)
    assert max(map(len, lines)) <= width
    for whole in ("10.86.203.239", IPV6, LONG["endpoint"], "203.0.113.5:3478", "1234.5 ms", "43.0 ms", "x" * 63):
        assert any(str(whole) in line for line in lines)


def test_few_words_make_a_line_a_peer() -> None:
    lines = shown(80, peer("laptop"), peer("shed", state="relayed", path=RELAYED, reason=BLOCKED))
    header, laptop, shed = lines[-3:]
    assert header.split() == ["peer", "address", "reached", "path"] or "since" in header
    assert laptop.split()[:3] == ["laptop", "10.86.0.2", "direct"]
    assert "relayed: udp blocked" in shed


def test_a_wide_terminal_gets_more() -> None:
    assert "chart" not in shown(80, peer())[-2].split()
    assert "ipv6 address" in shown(200, peer())[-2]
    assert "path mtu" in shown(240, peer())[-2]
    assert "1500" in shown(240, peer())[-1]
    assert shown(200, peer())[-2].split()[-1] == "chart"


def test_peers_are_sorted_by_name_and_those_away_come_last() -> None:
    away = {"state": "announced", "path": None, "reason": {"code": "peer_offline", "evidence": "", "remedy": ""}}
    lines = shown(80, peer("Zoo"), peer("attic", **away, since=90.0), peer("beta"), peer("Alpha"))
    assert [line.split()[0] for line in lines[-4:]] == ["Alpha", "beta", "Zoo", "attic"]


def test_a_peer_that_may_have_no_name_is_shown_by_its_id() -> None:
    """It is what `why` and `ping` take."""
    assert "laptopid" in shown(80, peer("", claimed_name="laptop"))[-1]


def test_an_unused_direct_peer_is_idle() -> None:
    assert "direct, idle" in "\n".join(shown(80, peer(idle_s=600.0)))
    assert "idle" not in "\n".join(shown(80, peer(idle_s=2.0)))


def test_a_direct_peer_whose_keys_ran_out_still_shows_its_path() -> None:
    """After some idle minutes it looked like one without any path."""
    shown_lines = shown(80, peer(path=None, kept_path=DIRECT, idle_s=600.0))
    assert "direct, idle" in shown_lines[-1]
    assert "192.0.2.7:4242 12.5 ms" in shown_lines[-1]
    assert any("192.0.2.7:4242" in line for line in shown(40, peer(path=None, kept_path=DIRECT, idle_s=600.0)))


def test_a_peer_that_takes_no_ip_is_shown_as_that() -> None:
    assert "direct, no IP" in "\n".join(shown(80, peer(takes_ip=False)))
    assert "no IP" not in "\n".join(shown(80, peer(takes_ip=True)))


@pytest.mark.parametrize(
    ("takes_ip", "interface", "words"),
    [
        (True, {"kind": "kernel", "name": "p2pt0", "reason": None}, ()),
        (
            True,
            {"kind": "namespace", "name": "p2pt0", "reason": "no right to make it: run as root"},
            ("interface  p2pt0, in a network namespace of this node's own", "no right to make it: run as root"),
        ),
        (
            False,
            {"kind": "python", "name": "", "reason": "no namespace: load it"},
            ("ip  none", "no namespace: load it"),
        ),
        (True, {"kind": "of later", "name": "x", "reason": None}, ("interface  x (of later)",)),
    ],
)
def test_an_interface_that_is_not_this_machine_s_is_shown_and_why(
    takes_ip: bool, interface: dict[str, Any], words: tuple[str, ...]
) -> None:
    told = document(peer())
    told["node"] |= {"takes_ip": takes_ip, "interface": interface}
    console = Console(width=240, highlight=False, force_terminal=False)
    with console.capture() as capture:
        console.print(status_view(told, 100.0))
    lines = [" ".join(line.split()) for line in capture.get().splitlines()]
    for word in words:
        assert any(" ".join(word.split()) in line for line in lines)
    assert bool(words) is any(line.startswith(("interface", "ip ")) for line in lines)


def test_a_node_without_the_server_has_no_announcement_that_is_not_made() -> None:
    told = document(peer())
    told["node"]["announcement"] = "surveying"
    told["server"] = {**told["server"], "state": "backing_off", "rtt_ms": None}
    console = Console(width=80, highlight=False, force_terminal=False)
    with console.capture() as capture:
        console.print(status_view(told, 100.0))
    assert "announcement  waits for the server" in capture.get()


def test_the_path_of_a_direct_peer_is_not_called_direct_twice() -> None:
    assert "\n".join(shown(80, peer(path=DIRECT))).count("direct") == 1
