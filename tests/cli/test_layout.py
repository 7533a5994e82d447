"""Nothing is cut off: another form is chosen, or what is missing is said."""

from __future__ import annotations

import pytest
from rich.console import Console
from rich.text import Text

from tunnel.cli.layout import ByWidth, Clipped, FirstFitting, table_of


def shown(view: object, width: int = 80, height: int = 24) -> list[str]:
    console = Console(width=width, height=height, highlight=False, force_terminal=False)
    with console.capture() as capture:
        console.print(view)
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize(("width", "form"), [(20, "a wide form of it"), (17, "a wide form of it"), (16, "narrow")])
def test_the_first_form_that_fits_is_shown(width: int, form: str) -> None:
    table = table_of([{"it": Text("a wide form of it")}], ["it"])
    assert shown(FirstFitting(table, Text("narrow")), width)[-1] == form


def test_the_last_form_is_shown_where_none_fits() -> None:
    assert "".join(shown(FirstFitting(Text("a" * 50), Text("b" * 30)), 20)) == "b" * 30


def test_a_form_may_be_chosen_by_the_width_alone() -> None:
    view = ByWidth(100, Text("wide"), Text("narrow"))
    assert (shown(view, 100), shown(view, 99)) == (["wide"], ["narrow"])


@pytest.mark.parametrize(("count", "last"), [(9, "line 8"), (10, "2 more lines: the terminal is too small")])
def test_a_view_that_is_too_high_says_what_is_missing(count: int, last: str) -> None:
    lines = shown(Clipped(Text("\n".join(f"line {number}" for number in range(count)))), height=10)
    assert lines[-1].startswith(last)
    assert len(lines) == 9
