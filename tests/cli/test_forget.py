"""`forget` says what became of the name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Machine

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("freed", "said"),
    [
        ({"id": "laptopid", "names": ["laptop"], "gone": True}, "laptopid: laptop is free now\n"),
        (
            {"id": "laptopid", "names": ["laptop"], "gone": False},
            "laptopid: laptop is free now; it is present, and keeps a name that no other node uses\n",
        ),
        ({"id": "laptopid", "names": [], "gone": True}, "laptopid: it had no name here\n"),
        ({"id": "x", "names": ["\x1b[2J"], "gone": True}, "x: \\x1b[2J is free now\n"),
    ],
)
def test_forget_says_what_became_of_the_name(
    machine: Machine, command: Command, freed: dict[str, Any], said: str
) -> None:
    machine.answers["forget"] = [freed]
    ended = command("forget", "laptop")
    assert (ended.code, ended.out) == (0, said)
    assert machine.requests == [{"do": "forget", "peer": "laptop"}]
