"""Nothing from outside may steer a terminal, and no invite may reach one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.safe_text import presentable, printable, without_secrets


@given(st.text())
def test_printable_text_is_printable(text: str) -> None:
    assert printable(text).isprintable()


@given(st.text().filter(str.isprintable))
def test_printable_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb", "a\\nb"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("Gerät 7", "Gerät 7"),
    ],
    ids=["escape", "newline", "C1 escape", "right-to-left override", "lone surrogate", "harmless"],
)
def test_what_could_steer_a_terminal_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_an_invite_is_cut_out_wherever_it_stands() -> None:
    assert without_secrets("join p2pt1-AbC_-9, now") == "join p2pt1-(hidden), now"


def test_presentable_text_keeps_its_lines() -> None:
    assert presentable("one\x07\np2pt1-AbC") == "one\\x07\np2pt1-(hidden)"


def test_a_piece_of_an_invite_is_hidden_and_what_people_need_is_not() -> None:
    """Pins and ids are compared by eye, paths are looked up."""
    piece = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9v"
    assert without_secrets(f"p2pt1-AbC {piece}, no file") == "p2pt1-(hidden), no file"
    assert without_secrets(f"unexpected argument '{piece}'") == "unexpected argument '(hidden)'"
    for text in (
        f"the pin is sha256:{piece}=",
        "peer afqrkhm2afqrkhm2afqrkhm2af moved",
        "p2pt1-(hidden) is no number of this kind",
        f"/var/lib/{piece} cannot be read",
    ):
        assert without_secrets(text) == text
