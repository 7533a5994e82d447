"""`netcheck` for people: every word of a report has a meaning, and where something can be done it says what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from rich.console import Console

from tunnel.cli.layout import Trimmed
from tunnel.cli.netcheck_view import netcheck_view
from tunnel.model.nat import HARD_MAPPINGS, Allocation, Filtering, Hairpin, Mapping, Udp

EASY: dict[str, Any] = {
    "mapping": "endpoint_independent",
    "filtering": "address_dependent",
    "allocation": "preserving",
    "hairpin": "no",
    "udp": "open",
    "port_mapping": "none",
    "step": None,
    "load": None,
    "block": None,
    "lifetime": 28.0,
    "keepalive": 14.0,
    "heard": {"other_address": "no", "other_port": "yes"},
    "ipv6": {"address": False, "reached": None, "filtering": "unknown"},
    "captive_portal": "no",
    "port_mappings": [],
    "reflexive": ["198.51.100.4:40000"],
    "answers": [{"server": "stun.test:3478", "mapped": "198.51.100.4:40000", "rtt_ms": 20.0}],
    "observers": 2,
    "silent": [],
    "unresolved": [],
    "servers": [],
    "second_opinion": None,
    "server": {"url": "wss://192.0.2.1:8443", "state": "registered", "rtt_ms": 20.0, "reason": None},
    "external": None,
    "took_s": 3.0,
}
DOWN = {"url": "wss://192.0.2.1:8443", "state": "backing_off", "rtt_ms": None, "reason": "connection refused"}
NO_PORT = {
    "family": "ipv4",
    "state": "unsupported",
    "protocol": None,
    "gateway": None,
    "external": None,
    "lease_s": None,
    "note": "",
}


def row(what: str, **changes: Any) -> list[str]:
    """What is seen, what it means and what to do, of one property; empty without such a row."""
    for line in told(**changes):
        if line[0] == what:
            return line[1:]
    return []


def told(**changes: Any) -> list[list[str]]:
    console = Console(width=400, highlight=False, force_terminal=False)
    with console.capture() as capture:
        console.print(netcheck_view(EASY | changes))
    return list(columns(capture.get().splitlines()))


def columns(lines: Iterable[str]) -> Iterable[list[str]]:
    for line in lines:
        yield [cell.strip() for cell in line.split("  ") if cell.strip()] or [""]


@pytest.mark.parametrize("word", Mapping, ids=lambda word: word.value)
def test_every_mapping_has_a_meaning_and_hard_ones_a_remedy(word: Mapping) -> None:
    seen, meaning, *remedy = row("mapping", mapping=word.value)
    assert seen
    assert meaning
    assert bool(remedy) is (word in HARD_MAPPINGS or word is Mapping.UNKNOWN)


@pytest.mark.parametrize("word", Filtering, ids=lambda word: word.value)
def test_every_filtering_has_a_meaning(word: Filtering) -> None:
    assert len(row("filtering", filtering=word.value, heard={"other_address": "no", "other_port": "no"})) == 2


@pytest.mark.parametrize("word", Allocation, ids=lambda word: word.value)
def test_every_allocation_has_a_meaning_where_it_matters(word: Allocation) -> None:
    hard = row("allocation", allocation=word.value, mapping="address_and_port_dependent")
    easy = row("allocation", allocation=word.value)
    assert len(hard) == len(easy) == 2
    assert easy[1] == "the mapping is known, so it does not matter" != hard[1]


@pytest.mark.parametrize("word", Hairpin, ids=lambda word: word.value)
def test_every_hairpin_has_a_meaning_and_none_without_nat(word: Hairpin) -> None:
    assert len(row("hairpin", hairpin=word.value)) == 2
    assert row("hairpin", hairpin=word.value, mapping="none") == []


@pytest.mark.parametrize("word", Udp, ids=lambda word: word.value)
def test_every_word_on_udp_has_a_meaning_and_bad_ones_a_remedy(word: Udp) -> None:
    assert len(row("udp", udp=word.value)) == (2 if word is Udp.OPEN else 3)


def test_numbers_stand_beside_their_words() -> None:
    hard = {"mapping": "address_and_port_dependent"}
    assert row("allocation", allocation="sequential", step=-2, load=12.5, **hard)[0] == (
        "sequential, -2 each time, others take 12.5 a second"
    )
    assert row("allocation", allocation="block", block=[40960, 41471], **hard)[0] == "block, 40960 to 41471"
    assert row("mapping lifetime") == ["at least 28 s", "an idle path is kept by a packet each 14 s"]
    assert row("mapping lifetime", lifetime=None)[0] == "not measured yet"


def test_one_address_is_said_to_know_less() -> None:
    _, meaning, remedy = row("mapping", observers=1)
    assert "one server address alone" in meaning
    assert "--stun" in remedy
    heard = {"other_address": "void", "other_port": "yes"}
    seen, meaning, remedy = row("filtering", filtering="unknown", heard=heard)
    assert seen == "not port dependent"
    assert "two addresses" in remedy


def test_without_udp_nothing_is_said_of_the_nat() -> None:
    blocked = {"udp": "blocked", "mapping": "unknown", "reflexive": [], "answers": []}
    assert row("udp", **blocked)[0] == "blocked"
    for what in ("mapping", "filtering", "allocation", "hairpin", "mapping lifetime"):
        assert row(what, **blocked) == []


@pytest.mark.parametrize(
    ("sight", "seen"),
    [
        ({"address": False, "reached": None, "filtering": "unknown"}, "no global address"),
        ({"address": True, "reached": None, "filtering": "unknown"}, "an address, nobody to ask"),
        ({"address": True, "reached": False, "filtering": "unknown"}, "an address, no answer"),
        ({"address": True, "reached": True, "filtering": "unknown"}, "reached"),
        ({"address": True, "reached": True, "filtering": "endpoint_independent"}, "reached, no firewall seen"),
        ({"address": True, "reached": True, "filtering": "address_dependent"}, "reached, behind a firewall"),
    ],
)
def test_ipv6_is_shown_as_far_as_it_was_seen(sight: dict[str, Any], seen: str) -> None:
    assert row("ipv6", ipv6=sight)[0] == seen


def test_a_captive_portal_is_named_with_what_to_do_but_not_if_unknown() -> None:
    assert len(row("captive portal", captive_portal="suspected")) == 3
    assert row("captive portal", captive_portal="unknown") == []


def test_a_port_is_asked_for_in_words_where_it_would_help() -> None:
    assert len(row("port mapping", port_mappings=[NO_PORT], mapping="dependent")) == 3
    assert len(row("port mapping", port_mappings=[NO_PORT])) == 2


def test_a_silent_server_is_shown_with_its_past() -> None:
    servers = [
        {"server": "late.test:1", "resolved": True, "answered_s_ago": 1.0, "rtt_ms": 300.0, "silences": 0},
        {"server": "dead.test:1", "resolved": True, "answered_s_ago": None, "rtt_ms": None, "silences": 7},
        {"server": "lost.test:1", "resolved": True, "answered_s_ago": 60.0, "rtt_ms": 20.0, "silences": 1},
    ]
    silent = {"silent": ["late.test:1", "dead.test:1", "lost.test:1", "new.test:1"], "servers": servers}
    assert row("late.test:1", **silent) == ["no answer", "answered after the verdict, in 300.0 ms"]
    assert row("dead.test:1", **silent) == ["no answer", "silent 7 times in a row"]
    assert row("lost.test:1", **silent) == ["no answer", "last heard 60 s ago"]
    assert row("new.test:1", **silent) == ["no answer"]


def test_an_answer_from_before_this_check_is_no_answer_to_it() -> None:
    """Where nobody answers nobody is blamed, so a server that has just died has no silences."""
    died = {"server": "died.test:1", "resolved": True, "answered_s_ago": 26.0, "rtt_ms": 6.2, "silences": 0}
    assert row("died.test:1", silent=["died.test:1"], servers=[died]) == ["no answer", "last heard 26 s ago"]


def test_an_ipv6_server_is_not_blamed_where_there_is_no_ipv6() -> None:
    mute = {"server": "[2001:db8::1]:3478", "resolved": True, "answered_s_ago": None, "rtt_ms": None, "silences": 2}
    silent = {"silent": [mute["server"]], "servers": [mute]}
    assert row("[2001:db8::1]:3478", **silent) == ["no IPv6 here"]
    has_ipv6 = {"address": True, "reached": False, "filtering": "unknown"}
    assert row("[2001:db8::1]:3478", ipv6=has_ipv6, **silent) == ["no answer", "silent 2 times in a row"]


def test_the_link_to_the_server_is_shown() -> None:
    assert row("server") == ["reached"]
    seen, meaning, remedy = row("server", server=DOWN)
    assert (seen, meaning) == ("not reached, trying again", "connection refused")
    assert "TCP port" in remedy
    assert row("server", server={**DOWN, "remedy": "check the spelling"})[2] == "check the spelling"
    assert row("server", server=None) == []


def test_udp_is_not_called_blocked_where_nothing_at_all_answers() -> None:
    """To let UDP out would not help anybody there."""
    silence = {"udp": "blocked", "mapping": "unknown", "reflexive": [], "answers": []}
    seen, meaning = row("udp", server=DOWN, **silence)
    assert seen == "no answer"
    assert "TCP port" in meaning
    assert row("udp", **silence)[0] == "blocked"


def test_nobody_is_told_to_open_a_port_that_is_open() -> None:
    mapped = {**NO_PORT, "state": "mapped", "protocol": "upnp", "external": "25.1.0.1:51545", "lease_s": 7200}
    assert len(row("mapping", mapping="dependent", port_mappings=[mapped])) == 2
    assert len(row("mapping", mapping="dependent", external="25.1.0.1:4242")) == 2
    assert len(row("mapping", mapping="dependent", port_mappings=[{**mapped, "note": "behind another NAT"}])) == 3
    assert len(row("mapping", mapping="unknown", port_mappings=[mapped])) == 3


def test_a_declared_endpoint_is_shown() -> None:
    assert row("external", external="25.1.0.1:4242")[0] == "25.1.0.1:4242"
    assert row("external") == []


def test_ipv6_is_not_advised_against_a_nat_that_is_not_there() -> None:
    assert len(row("ipv6")) == 3
    assert len(row("ipv6", mapping="none")) == len(row("ipv6", mapping="unknown")) == 2


def test_a_dependent_mapping_says_on_what() -> None:
    assert row("mapping", mapping="dependent")[0] == "dependent on the destination"


def test_words_of_a_newer_node_are_shown_as_they_came() -> None:
    changes = dict.fromkeys(("mapping", "filtering", "allocation", "hairpin", "udp"), "by_moon_phase")
    assert row("mapping", **changes)[0] == "by moon phase"
    assert row("udp", udp="\x1b[2J")[0] != "\x1b[2J"


def test_where_upnp_is_not_installed_that_is_said_with_the_remedy() -> None:
    """A router that knows no other protocol opens no port then, and nobody would know why."""
    seen, meaning, remedy = row("upnp", upnp_installed=False, port_mappings=[NO_PORT])
    assert (seen, meaning) == ("not installed", "ports are opened by PCP and NAT-PMP alone")
    assert "C compiler" in remedy
    assert row("upnp", upnp_installed=True, port_mappings=[NO_PORT]) == []
    assert row("upnp", upnp_installed=False, port_mappings=[]) == []


def narrow(**changes: Any) -> list[str]:
    console = Console(width=80, highlight=False, force_terminal=False)
    with console.capture() as capture:
        console.print(Trimmed(netcheck_view(EASY | changes)))
    return capture.get().splitlines()


def test_at_80_columns_nothing_is_cut_and_each_fact_has_its_line() -> None:
    ipv6 = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
    answers = [{"server": ipv6, "mapped": ipv6.replace("2001", "2002"), "rtt_ms": 1234.5}]
    lines = narrow(answers=answers, mapping="dependent")
    assert max(map(len, lines)) <= 80
    assert any(line == "mapping           dependent on the destination" for line in lines)
    assert any(line.strip() == "hard: each peer sees a different external port" for line in lines)
    assert any(line.strip().startswith("-> switch UPnP") for line in lines)
    assert ipv6 in lines
    assert f"    {ipv6.replace('2001', '2002')}  1234.5 ms" in lines


def test_a_name_on_which_dns_was_silent_is_not_a_silent_server() -> None:
    silent = {"silent": ["slow.test:3478"], "unnamed": ["slow.test:3478"]}
    assert row("slow.test:3478", **silent) == ["no answer from DNS"]


@pytest.mark.parametrize(
    ("second", "seen"),
    [
        ({"classic": "Restric NAT", "term": "restricted cone NAT", "note": "", "agrees": True}, "restricted cone NAT"),
        ({"classic": "Full Cone", "note": "", "agrees": True}, "Full Cone"),
        ({"classic": None, "term": None, "note": "no verdict within 8 s", "agrees": None}, "no verdict within 8 s"),
    ],
)
def test_a_second_opinion_speaks_in_terms_of_its_rfc(second: dict[str, Any], seen: str) -> None:
    assert row("second opinion", second_opinion=second)[0] == f"{seen} (RFC 3489)"


def test_an_interface_that_is_not_this_machine_s_is_shown_with_what_would_give_it_one() -> None:
    """It changes nothing of the paths."""
    assert row("interface", interface={"kind": "kernel", "name": "p2pt0", "reason": None}) == []
    named = {"kind": "namespace", "name": "p2pt0", "reason": "no right to make it: run as root"}
    assert row("interface", interface=named) == [
        "p2pt0, in a network namespace of this node's own",
        "does not matter",
        "no right to make it: run as root",
    ]
