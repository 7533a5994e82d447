"""A slip of the fingers is met with the word that was meant."""

from __future__ import annotations

import pytest

from tunnel.cli.suggestions import nearest, or_nearest


@pytest.mark.parametrize(
    ("word", "known"), [("nmae", "name"), ("udp_port", "udp-port"), ("prt", "udp-port"), ("--nam", "name")]
)
def test_a_slip_has_a_nearest_word(word: str, known: str) -> None:
    assert nearest(word, ["name", "udp-port"]) == known


def test_the_nearest_option_is_named_with_its_dashes() -> None:
    assert nearest("--nmae", ["--name", "--udp-port"]) == "--name"


@pytest.mark.parametrize("known", [[], ["name", "udp-port"]])
def test_nothing_is_near_when_nothing_is_alike(known: list[str]) -> None:
    """A suggestion that has nothing to do with what was meant is worse than none."""
    assert nearest("--zzz", known) is None


def test_where_nothing_is_near_all_known_words_are_listed() -> None:
    assert or_nearest("zzz", ["name", "udp-port"]) == "known ones are name, udp-port"
    assert or_nearest("nmae", ["name", "udp-port"]) == "the nearest known one is 'name'"
