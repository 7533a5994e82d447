"""Writes a scenario as the text of a file that `scenario_file.py` reads."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

from tunnel.model.endpoint import Endpoint
from tunnel.verify.simulation.scenarios.scenario import Scenario
from tunnel.verify.simulation.scenarios.scenario_file import NODE_KEYS


def write_scenario(scenario: Scenario) -> str:
    """The text of a file that reads as this scenario again."""
    topology = scenario.topology
    lines = [f"title = {toml_text(scenario.title)}"]
    if scenario.about:
        lines.append(f"about = {toml_text(scenario.about)}")
    lines += [f"length = {scenario.length!r}", f"latency = {topology.latency!r}"]
    server = as_table(topology.server)
    if scenario.server.start != 0.0:
        server["start"] = "never" if scenario.server.start is None else scenario.server.start
    if scenario.server.clock != 0.0:
        server["clock"] = scenario.server.clock
    if scenario.server.introduction_wait is not None:
        server["introduction_wait"] = scenario.server.introduction_wait
    lines += _section("[server]", server)
    for stun in topology.stun_servers:
        table = as_table(stun)
        lines += _section(f"[stun_servers.{toml_text(table.pop('name'))}]", table)
    for name, router in topology.routers.items():
        table = as_table(router)
        table["nat"] = "none" if router.nat is None else as_table(router.nat)
        lines += _section(f"[routers.{_key(name)}]", table)
    for name, host in topology.hosts.items():
        plan = scenario.nodes[name]
        table = as_table(host)
        settings = as_table(plan.settings)
        table |= {key: settings[key] for key in NODE_KEYS if key in settings}
        if plan.start != 0.0:
            table["start"] = "never" if plan.start is None else plan.start
        if plan.network != "home":
            table["network"] = plan.network
        if plan.clock != 0.0:
            table["clock"] = plan.clock
        if plan.offloads:
            table["offloads"] = True
        lines += _section(f"[hosts.{_key(name)}]", table)
    for action in scenario.actions:
        lines += _section("[[do]]", {"do": action.word, **as_table(action)})
    for expectation in scenario.expectations:
        lines += _section("[[expect]]", as_table(expectation))
    return "\n".join(lines) + "\n"


def _section(header: str, table: Mapping[str, Any]) -> list[str]:
    return ["", header, *(f"{key} = {toml_text(value)}" for key, value in table.items())]


def _key(name: str) -> str:
    """A key, bare if TOML allows it."""
    return name if name.isascii() and name.replace("-", "a").replace("_", "a").isalnum() else toml_text(name)


def as_table(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults, as a table."""
    table = {}
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if content != default and content is not None:
            table[field.name] = _plain(content)
    return table


def toml_text(value: Any) -> str:
    """A value in TOML, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return "[" + ", ".join(toml_text(item) for item in value) + "]"
        case dict():
            return "{ " + ", ".join(f"{key} = {toml_text(item)}" for key, item in value.items()) + " }"
        case _:
            return repr(value)


def _plain(content: Any) -> Any:
    if isinstance(content, Enum):
        return content.value
    if isinstance(content, Endpoint):
        return str(content)
    if isinstance(content, tuple | list):
        return [_plain(item) for item in content]
    if dataclasses.is_dataclass(content):
        return as_table(content)
    return content
