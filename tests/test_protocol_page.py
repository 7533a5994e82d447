"""docs/protocol.md says what the code does: its tables are compared with the code that they describe."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.wire import signals
from tunnel.wire.stun import Attribute

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tunnel"
PAGE = (ROOT / "docs" / "protocol.md").read_text()

NUMBER = re.compile(r"^\| (?P<what>[^|]+) \| (?P<value>[^|]+) \| `(?P<file>[a-z_/0-9]+\.py): (?P<name>\w+)` \|$", re.M)
LABELS_OF = {"derive_key": 1, "labeled": 0, "_key_and_index": 1}
"""Functions that take a purpose, and which of their arguments it is."""


def marked(name: str) -> str:
    """The part of the page between `<!-- name -->` and `<!-- /name -->`."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", PAGE, re.S)
    assert found is not None, name
    return found[1]


def first_cells(table: str) -> list[str]:
    """The words in backticks in the first column."""
    return [cell for line in table.splitlines() for cell in re.findall(r"^\| `([^`]+)` \|", line)]


def signal_table() -> str:
    lines = ["| Signal | What it says | Fields |", "|---|---|---|"]
    for tag, kind in signals.TAGS.items():
        hints = get_type_hints(kind)
        said = ", ".join(f"`{field.name}` {_limit(field, hints[field.name])}" for field in fields(kind)) or "none"
        meaning = (kind.__doc__ or "").partition("\n")[0].rstrip(".")
        lines.append(f"| `{tag}` | {meaning} | {said} |")
    return "\n".join(lines)


def _limit(field: Any, hint: Any) -> str:
    optional = "" if field.default is MISSING else " (may be absent)"
    if hint is bytes and field.name in signals._EXACT:
        return f"{signals._EXACT[field.name]} B{optional}"
    words = {
        bytes: f"at most {signals.MAX_BODY} B",
        str: f"text ≤ {signals.MAX_TEXT}",
        int: "integer",
        float: "number",
        Endpoint: "endpoint",
        tuple[Endpoint, ...]: "≤ 8 endpoints",
    }
    return words[hint] + optional


def calls(folder: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a folder of the source, with the name of what is called."""
    for path in sorted((SOURCE / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                match node.func:
                    case ast.Name(id=name) | ast.Attribute(attr=name):
                        yield name, node


def text_at(call: ast.Call, position: int) -> str | None:
    match call.args[position : position + 1]:
        case [ast.Constant(value=str() as text)]:
            return text
    return None


def test_the_table_of_signals_is_the_code_s() -> None:
    """When a signal has changed, put what this prints between the marks."""
    assert marked("signals") == signal_table()


def numbers() -> list[tuple[str, str, str]]:
    return [(match["file"], match["name"], match["value"].strip()) for match in NUMBER.finditer(PAGE)]


@pytest.mark.parametrize(("file", "name", "value"), numbers())
def test_a_number_on_the_page_is_the_code_s(file: str, name: str, value: str) -> None:
    module = import_module("tunnel." + file.removesuffix(".py").replace("/", "."))
    known = getattr(DEFAULT_TIMINGS, name) if file == "model/timings.py" else getattr(module, name)
    told = [float(text.replace(" ", "")) for text in re.findall(r"\d[\d ]*(?:\.\d+)?", value.split("(")[0])]
    assert told == [float(each) for each in (known if isinstance(known, tuple) else (known,))]


def test_the_page_has_numbers_to_check() -> None:
    assert len(numbers()) > 30


def test_every_purpose_of_a_key_or_hash_is_on_the_page() -> None:
    """A purpose that two uses shared would be two uses of one key."""
    used = [
        text
        for name, call in calls("crypto")
        if name in LABELS_OF and (text := text_at(call, LABELS_OF[name])) is not None
    ]
    assert set(first_cells(marked("purposes"))) == set(used)


def test_every_last_word_of_the_server_is_on_the_page() -> None:
    said = {
        text
        for name, call in calls("server")
        if name in ("Refused", "end", "end_all") and (text := text_at(call, 0)) is not None
    }
    assert first_cells(marked("errors")) == sorted(said)


def test_every_stun_attribute_is_on_the_page() -> None:
    known = {f"{attribute.name.replace('_', '-')} 0x{attribute:04X}" for attribute in Attribute}
    assert set(re.findall(r"[A-Z-]+[A-Z0-9-]* 0x[0-9A-F]{4}", marked("stun"))) == known
