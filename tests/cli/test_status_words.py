"""Every state of the charts has plain words, and no two of a chart have the same."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from tunnel.cli.peer_view import peer_view
from tunnel.cli.status_words import announcement_words, idle_words, is_offline, peer_words, server_words
from tunnel.machines.diagrams import CHARTS

RELAY = {"kind": "relay-websocket"}
OFFLINE = {"code": "peer_offline"}


def known(state: str) -> str:
    return announcement_words(state, is_registered=True)


@pytest.mark.parametrize(("chart", "words"), [("announcement", known), ("server_link", server_words)])
def test_each_state_has_words_of_its_own(chart: str, words: Any) -> None:
    states = {state.id for state in CHARTS[chart].states} - {"closed"}
    assert not {words(state) for state in states} & (states - {"connecting"})
    assert len({words(state) for state in states}) == len(states)
    assert words("closed") == "closed"


@pytest.mark.parametrize("state", ["surveying", "announcing", "acknowledged", "stale"])
def test_an_announcement_waits_for_the_server_in_words(state: str) -> None:
    """ "Not made yet", said of a node that the server has lost, sends people looking at the wrong end."""
    assert "server" in announcement_words(state, is_registered=False)
    assert announcement_words("by moon phase", is_registered=False) == "by moon phase"


@pytest.mark.parametrize(
    ("path", "idle", "words"),
    [(RELAY, 60.0, ", idle"), (RELAY, 2.0, ""), (RELAY, None, ""), (None, 60.0, "")],
)
def test_an_unused_path_is_idle(path: Any, idle: float | None, words: str) -> None:
    assert idle_words({"path": None, "kept_path": RELAY, "idle_s": None}) == ", idle"
    assert idle_words({"path": path, "idle_s": idle}) == words
    assert idle_words({"path": RELAY}) == "", "a node of before tells nothing of it"


@pytest.mark.parametrize(
    ("state", "path", "reason", "words"),
    [
        ("detecting", None, None, "known, nothing sent yet"),
        ("announced", None, None, "known, nothing sent yet"),
        ("announced", None, OFFLINE, "offline"),
        ("announced", None, {"code": "server_unreachable"}, "not reached: server unreachable"),
        ("requested", None, None, "connecting"),
        ("requested", RELAY, None, "relayed, trying the direct way"),
        ("punching", None, None, "connecting"),
        ("punching", RELAY, {"code": "path_lost"}, "relayed, trying the direct way"),
        ("connected", {"kind": "direct"}, None, "direct"),
        ("connected", RELAY, {"code": "udp_throttled"}, "relayed: udp throttled"),
        ("relayed", RELAY, None, "relayed"),
        ("relayed", RELAY, {"code": "both_hard_nats"}, "relayed: both hard nats"),
        ("closed", None, None, "closed"),
    ],
)
def test_a_peer_is_described_by_how_it_is_reached(state: str, path: Any, reason: Any, words: str) -> None:
    peer = {"state": state, "path": path, "reason": reason}
    assert peer_words(peer) == words
    assert is_offline(peer) == (words == "offline")


@pytest.mark.parametrize("counts", [{"tx_bytes": 27, "rx_bytes": 0}, {"tx_bytes": 0, "rx_bytes": 27}])
def test_a_peer_that_was_talked_to_is_not_said_to_have_got_nothing(counts: dict[str, int]) -> None:
    peer: dict[str, Any] = {
        "state": "announced",
        "path": None,
        "reason": None,
        "name": "laptop",
        "addresses": [],
        "since": 0.0,
    }
    peer |= {"kept_path": None, "history": [], **counts}
    assert peer_words(peer) == "known, not connected"
    console = Console(width=120)
    with console.capture() as shown:
        console.print(peer_view(peer, 1.0))
    assert "it is not connected now; `p2ptunnel-trio ping laptop` connects" in shown.get()


def test_the_words_cover_the_chart_of_a_peer() -> None:
    for state in CHARTS["peer_connection"].states:
        told = peer_words({"state": state.id, "path": None, "reason": None})
        assert told != state.id or state.id in ("relayed", "closed")
