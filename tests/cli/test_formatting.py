"""Durations, amounts, NATs and paths in the words that people use."""

from __future__ import annotations

import pytest

from tunnel.cli.formatting import age, amount, nat_words, path_words


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3, "0 s"), (59.9, "59 s"), (150, "2 min"), (7300, "2 h"), (200_000, "2 d")]
)
def test_age_has_the_unit_that_people_use(seconds: float, words: str) -> None:
    assert age(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_000_000, "2.0 MB"), (3 * 10**12, "3.0 TB")]
)
def test_amounts_have_a_decimal_prefix(count: int, words: str) -> None:
    assert amount(count) == words


def test_a_nat_is_shown_without_what_is_unknown() -> None:
    nat = {"mapping": "endpoint_independent", "filtering": "unknown", "allocation": "preserving", "udp": "open"}
    known = "mapping endpoint independent, allocation preserving, udp open"
    assert nat_words({**nat, "hairpin": "unknown", "port_mapping": "none"}) == known
    assert nat_words({"mapping": "none", "udp": "open"}) == "no NAT, udp open"
    assert nat_words({"mapping": "unknown"}) == "not known yet"


def test_a_path_is_shown_in_a_few_words() -> None:
    direct = {"kind": "direct", "endpoint": "192.0.2.7:4242", "rtt_ms": 12.5}
    assert path_words(None) == "none"
    assert path_words(direct) == "direct 192.0.2.7:4242 12.5 ms"
    assert path_words({"kind": "relay-websocket", "endpoint": None, "rtt_ms": None}) == "relay-websocket"
