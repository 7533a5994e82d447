"""Whoever pastes an invite as an argument must not find it in the error."""

from __future__ import annotations

from tunnel.cli.pasted_invite import is_pasted, without_pasted


def test_an_invite_is_known_by_its_beginning_in_any_case() -> None:
    assert is_pasted("p2pt1-AbC")
    assert is_pasted("--invite=P2PT1-AbC")
    assert not is_pasted("laptop")


def test_with_an_invite_among_them_no_typed_word_is_repeated() -> None:
    """A blank may have split it: the other words may be its pieces."""
    typed = ["p2pt1-AbC", "restOfIt", "--name=Secret7"]
    text = "unexpected 'p2pt1-AbC', 'restOfIt' and --name=Secret7"
    assert without_pasted(text, typed) == "unexpected '(hidden)', '(hidden)' and --name=(hidden)"


def test_without_an_invite_the_text_stays_as_it_is() -> None:
    assert without_pasted("unknown command 'laptop'", ["laptop"]) == "unknown command 'laptop'"
