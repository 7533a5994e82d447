"""Which texts are no names, since somebody might take them for more than a name."""

from __future__ import annotations

import pytest

from tunnel.model.node_name import folded, reads_as_address_or_id


@pytest.mark.parametrize(
    "text",
    [
        "10.86.9.9", "10.86.9.9/16", "10.86.9.9:80", "010.1.2.3", "127.1", "0x7f.1",
        "fd00::1", "[fd00::1]", "[fd00::1]:80", "fe80::1%eth0", "::", "\uff110.86.9.9",
        "a" * 26, "ABCDEFGHIJKLMNOPQRSTUVWX23", "\uff41" * 26,
    ],
)  # fmt: skip
def test_an_address_or_an_id_in_any_spelling_is_no_name(text: str) -> None:
    assert reads_as_address_or_id(text)


@pytest.mark.parametrize("text", ["laptop", "42", "web1.example", "a.b", "a" * 25, "v1.2", "node-10", "10-86-9-9"])
def test_what_people_call_machines_is_a_name(text: str) -> None:
    assert not reads_as_address_or_id(text)


def test_case_blanks_and_width_make_no_other_name() -> None:
    assert folded("Anna's  LAPTOP") == folded("anna's l\uff41ptop")
