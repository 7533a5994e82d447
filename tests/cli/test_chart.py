"""`chart` prints what statecharts/ holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunnel.machines.diagrams import CHARTS

Command = Callable[..., Any]
STATECHARTS = Path(__file__).parents[2] / "statecharts"


@pytest.mark.parametrize("name", sorted(CHARTS))
@pytest.mark.parametrize("form", ["mermaid", "table"])
def test_chart_prints_what_the_generated_page_holds(command: Command, name: str, form: str) -> None:
    ended = command("chart", name, "--format", form)
    assert ended.code == 0
    assert ended.out in (STATECHARTS / f"{name}.md").read_text()
    assert len(ended.out.splitlines()) > 4


@pytest.mark.parametrize("name", sorted(CHARTS))
def test_chart_prints_the_handwritten_statement(command: Command, name: str) -> None:
    ended = command("chart", name, "--format", "scxml")
    assert ended.out.rstrip("\n") == (STATECHARTS / f"{name}.scxml").read_text().rstrip("\n")


def test_mermaid_is_what_chart_prints_unless_told(command: Command) -> None:
    assert command("chart", "session").out == command("chart", "session", "--format", "mermaid").out


def test_an_unknown_chart_names_the_nearest(command: Command) -> None:
    ended = command("chart", "sesion")
    assert ended.code == 2
    assert "'session'" in ended.err
