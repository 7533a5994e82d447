"""Two ends of a TCP connection, in every pair of states that they can reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunnel.verify.proof.mutants import mutations_of
from tunnel.verify.proof.tcp_end import MEANING
from tunnel.verify.proof.tcp_pair import OPENINGS, Found, explore_opening, judge_tcp, read_tcp_table

ROOT = Path(__file__).parents[3]
SYNCHRONIZED = {*MEANING} - {"listen", "syn_sent", "syn_received"}


@pytest.fixture(scope="module")
def found() -> dict[str, Found]:
    return {opening.name: explore_opening(read_tcp_table(), opening) for opening in OPENINGS}


def test_every_promise_holds_however_a_connection_begins_and_ends(found: dict[str, Found]) -> None:
    assert {name: each.violation for name, each in found.items()} == dict.fromkeys(found, "")


def test_the_page_tells_how_much_was_explored(found: dict[str, Found]) -> None:
    page = (ROOT / "docs" / "proof.md").read_text(encoding="utf-8")
    for name, each in found.items():
        assert f"| {name} | {each.states:,} | {each.steps:,} | {len(each.pairs)} |" in page


def test_every_state_is_reached_and_each_has_its_partners(found: dict[str, Found]) -> None:
    """A server's end is never behind the handshake while the client's is before it, and the other way round."""
    pairs = found["client and server"].pairs
    assert {first for first, _ in pairs} | {second for _, second in pairs} == {*MEANING, "closed"}
    assert {first for first, second in pairs if second == "listen"} == {"syn_sent"}
    assert {first for first, second in pairs if second == "syn_received"} <= SYNCHRONIZED | {"syn_sent"}
    assert not pairs & {("syn_sent", state) for state in SYNCHRONIZED}
    assert {first for first, second in pairs if second == "established"} == {"established", "fin_wait_1"}


def test_two_that_open_at_once_are_alike(found: dict[str, Found]) -> None:
    """Whatever pair is reached, its mirror image is too."""
    for name, each in found.items():
        if name.startswith("simultaneous"):
            assert {(second, first) for first, second in each.pairs} == each.pairs


def test_nobody_listens_and_the_client_learns_it(found: dict[str, Found]) -> None:
    assert found["nobody listens"].pairs == {("syn_sent", "closed"), ("closed", "closed")}


def test_a_broken_chart_is_noticed() -> None:
    """Of each kind of mutant one; `prove` tries them all."""
    broken = {
        "established --fin--> close_wait is removed": "never",
        "closing --fin_acknowledged--> time_wait leads to closed": "never",
        "fin_wait_1 may not return fin": "never",
        "last_ack may not send fin": "never",
    }
    mutants = {name.removeprefix("tcp_connection: "): table for name, _, table in mutations_of(read_tcp_table())}
    for name, violation in broken.items():
        found = judge_tcp(mutants[name])
        assert found is not None
        assert found.violation == violation
        assert found.what


def test_a_time_wait_that_never_ends_is_noticed() -> None:
    table = read_tcp_table()
    unending = table.having(arrows=tuple(arrow for arrow in table.arrows if arrow.event != "patience_ended"))
    found = judge_tcp(unending)
    assert found is not None
    assert "patience_ended is not enabled" in found.what
