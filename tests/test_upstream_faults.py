"""docs/upstream.md keeps its word: every fault has its row, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
FAULTS = [f"B{number}" for number in range(1, 15)] + [f"S{number}" for number in range(1, 9)]

ROW = re.compile(r"^\| ([BS]\d+) \| (.+) \| (.+) \| (.+) \|$", re.M)
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> dict[str, str]:
    """By fault, the cell that names its tests."""
    return {match[1]: match[4] for match in ROW.finditer((DOCS / "upstream.md").read_text())}


def named(page: str) -> list[tuple[str, str]]:
    return sorted(set(NAMED.findall((DOCS / page).read_text())))


@cache
def names_in(file: str) -> frozenset[str]:
    """The tests that a file defines at its top level, as pytest would collect them."""
    return frozenset(
        node.name
        for node in ast.parse((TESTS / file).read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_every_fault_has_its_row() -> None:
    assert list(rows()) == FAULTS


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_names_a_test(fault: str) -> None:
    assert NAMED.search(rows()[fault])


@pytest.mark.parametrize(
    ("page", "file", "name"),
    [(page.name, *test) for page in sorted(DOCS.rglob("*.md")) for test in named(str(page.relative_to(DOCS)))],
)
def test_every_test_that_a_page_names_exists(page: str, file: str, name: str) -> None:
    assert name in names_in(file)
