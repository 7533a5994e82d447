"""`netcheck` shows the NAT, and fails where no server answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.documents import NAT, NO_PORT, OPEN_PORT

if TYPE_CHECKING:
    from tests.cli.conftest import Machine

Command = Callable[..., Any]
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


def test_netcheck_shows_the_nat_and_the_servers(machine: Machine, command: Command) -> None:
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
def test_netcheck_shows_what_a_gateway_opened_or_why_it_did_not(
    machine: Machine, command: Command, mapping: dict[str, Any] | None, words: str
) -> None:
    machine.answers["netcheck"] = [{**SURVEY, "port_mappings": [] if mapping is None else [mapping]}]
    assert words in " ".join(command("netcheck").out.split())


@pytest.mark.parametrize("argv", [[], ["--json"]], ids=["table", "json"])
def test_a_netcheck_that_nobody_answers_is_3(machine: Machine, command: Command, argv: list[str]) -> None:
    machine.answers["netcheck"] = [{**SURVEY, "answers": [], "reflexive": [], "second_opinion": None}]
    ended = command("netcheck", *argv)
    assert (ended.code, ended.err) == (3, "")
    assert "mute.test:3478" in ended.out
