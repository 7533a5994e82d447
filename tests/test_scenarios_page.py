"""docs/scenarios.md names everything that a scenario file may say, and nothing else; its example is a scenario."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path

import pytest

from tunnel.verify.reachability.nat_kinds import NATS
from tunnel.verify.reachability.topology import Gateway, Host, Line, Nat, Router, Server, StunServer
from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.scenarios.action import ANY_ACTION
from tunnel.verify.simulation.scenarios.expectation import ANY_EXPECTATION
from tunnel.verify.simulation.scenarios.groups import COUNT
from tunnel.verify.simulation.scenarios.scenario_file import NODE_KEYS, parse_scenario

PAGE = (Path(__file__).parents[1] / "docs" / "scenarios.md").read_text()
TABLES: dict[str, tuple[type, tuple[str, ...]]] = {
    "host": (Host, ("start", "network", *NODE_KEYS, "clock", "offloads", COUNT)),
    "router": (Router, ()),
    "nat": (Nat, ()),
    "line": (Line, ()),
    "gateway": (Gateway, ()),
    "server": (Server, ("introduction_wait", "start", "clock")),
    "stun": (StunServer, ()),
}


def rows_of(name: str) -> dict[str, list[str]]:
    """The rows between `<!-- name -->` and `<!-- /name -->`, by their first cell."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", PAGE, re.S)
    assert found is not None, name
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found[1].splitlines()[2:]]
    return {row[0].strip("` "): row for row in rows}


@pytest.mark.parametrize("name", TABLES)
def test_every_key_of_the_network_is_on_the_page(name: str) -> None:
    kind, more = TABLES[name]
    known = [field.name for field in fields(kind) if not (kind is StunServer and field.name == "name")]
    assert list(rows_of(name)) == [*known, *more]


@pytest.mark.parametrize("name", TABLES)
def test_a_default_on_the_page_is_the_code_s(name: str) -> None:
    rows = rows_of(name)
    for field in fields(TABLES[name][0]):
        default = field.default.value if isinstance(field.default, Enum) else field.default
        if default is not MISSING and isinstance(default, bool | int | float | str):
            assert rows[field.name][1] == f"`{as_told(default)}`", field.name


def as_told(default: bool | float | str) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return default if isinstance(default, str) else f"{default:g}"


def test_every_class_of_nat_is_on_the_page() -> None:
    line = re.search(r"^Classes: (.*?)\.", PAGE, re.M)
    assert line is not None
    assert re.findall(r"`(\w+)`", line[1]) == list(NATS)


def test_every_action_is_on_the_page_with_its_keys() -> None:
    rows = rows_of("actions")
    assert list(rows) == [action.word for action in ANY_ACTION]
    for action in ANY_ACTION:
        _, what, keys = rows[action.word]
        assert what == (action.__doc__ or "").partition("\n")[0]
        assert re.findall(r"`(\w+)`", keys) == [field.name for field in fields(action) if field.name != "at"]


def test_every_expectation_is_on_the_page_with_its_keys() -> None:
    known: dict[str, list[str]] = {}
    for kind in ANY_EXPECTATION:
        for field in fields(kind):
            known.setdefault(field.name, []).append(kind.word)
    assert {key: row[2].split(", ") for key, row in rows_of("expectations").items()} == known


def test_the_example_is_a_scenario_and_passes() -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.S)
    assert example is not None
    scenario = parse_scenario(example[1], name="example")
    assert run_scenario(scenario, 0).failures == ()
