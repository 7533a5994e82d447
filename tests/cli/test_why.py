"""`why` says why a peer is reached as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.documents import BLOCKED, DIRECT, RELAYED, peer

if TYPE_CHECKING:
    from tests.cli.conftest import Machine

Command = Callable[..., Any]


def test_why_shows_reason_evidence_remedy_and_history(machine: Machine, command: Command) -> None:
    machine.answers["why"] = [peer(state="relayed", path=RELAYED, reason=BLOCKED)]
    ended = command("why", "laptop")
    assert ended.code == 0
    for word in ("relayed", "udp_blocked", "eleven asked", "Let UDP leave.", "punching -> connected", "path_verified"):
        assert word in ended.out
    assert machine.requests == [{"do": "why", "peer": "laptop"}]


def test_why_of_a_direct_peer_needs_no_reason(machine: Machine, command: Command) -> None:
    machine.answers["why"] = [peer(history=[])]
    assert "none needed" in command("why", "laptop").out


def test_why_shows_the_size_of_packets_inside_and_outside(machine: Machine, command: Command) -> None:
    for path, said in ((DIRECT, "1400 inside, 1500 on the path"), (RELAYED, "1400 inside\n")):
        machine.answers["why"] = [peer(path=path)]
        shown = command("why", "laptop").out
        assert said in "".join(f"{line.rstrip()}\n" for line in shown.splitlines())


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
