"""A value of a settings file has the type of its option: nothing is inferred from look-alikes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from tunnel.cli.option_types import describe_type, fits


@pytest.mark.parametrize(
    ("hint", "word", "fitting", "strange"),
    [
        (bool, "true or false", [True], [1, "yes"]),
        (int, "a whole number", [0, -1], [True, 1.0, "1"]),
        (float, "a number", [1, 0.5], [True, "1"]),
        (str, "a text", ["", "a"], [1, True, ["a"]]),
        (str | None, "a text", ["a"], [1]),
        (Path | None, "a text", ["/a"], [1]),
        (tuple[str, ...], "a list of texts", [[], ["a"]], ["a", [1]]),
        (Literal["a", "b"], "one of a, b", ["a"], ["c", 1]),
        (bool | Literal["a", "b"], "true or false or one of a, b", [True, "b"], ["c", 1]),
    ],
    ids=str,
)
def test_each_kind_has_its_words_and_its_values(hint: Any, word: str, fitting: list[Any], strange: list[Any]) -> None:
    assert describe_type(hint) == word
    assert all(fits(value, hint) for value in fitting)
    assert not any(fits(value, hint) for value in strange)
