"""Groups of equal hosts: `[hosts.n]` with `count = 80` stands for `n1` to `n80`, and its name for each of them.

They are expanded before anything is read, so all other code knows single hosts only. Faults are reported where the
group, the action or the expectation stands in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from tunnel.verify.simulation.scenarios.ranges import MOST_OF_A_KIND
from tunnel.verify.simulation.scenarios.structure import Reader
from tunnel.verify.simulation.scenarios.toml_lines import Path

EVERY = "*"
"""The group of all hosts."""
COUNT = "count"
MOST_WRITTEN = 10_000
"""The most actions, and the most expectations, that a file may expand to."""
_OWN = ("addresses", "external")
"""Keys that no two hosts can share."""
_NAMING = ("who", "to", "host", "of", "one", "other", "node", "peer")
"""Keys of actions and expectations that may name a host."""

Groups = Mapping[str, tuple[str, ...]]
"""The names of the hosts that a name stands for."""


def write_out(document: dict[str, Any], reader: Reader) -> tuple[dict[str, Any], Groups]:
    """The document with single hosts in place of groups. Raises SettingsError."""
    tables = reader.table(document.get("hosts", {}), ("hosts",))
    counts = {
        name: reader.value(int, table[COUNT], ("hosts", name, COUNT))
        for name, table in tables.items()
        if isinstance(table, dict) and COUNT in table
    }
    total = len(tables) - len(counts) + sum(counts.values())
    if total > MOST_OF_A_KIND:
        reader.fail(("hosts",), f"{total} are too many: at most {MOST_OF_A_KIND} are possible")
    groups = {name: tuple(f"{name}{at}" for at in range(1, count + 1)) for name, count in counts.items()}
    hosts: dict[str, Any] = {}
    for name, table in tables.items():
        members = _members(name, table, groups[name], reader) if name in groups else {name: table}
        for member, each in members.items():
            if member in hosts:
                reader.fail(("hosts", name), f"{member!r} is the name of two hosts")
            hosts[member] = each
    written = {**document, "hosts": hosts} if hosts else dict(document)
    everybody = {**groups, EVERY: tuple(hosts)}
    for key in ("do", "expect"):
        if isinstance(listed := document.get(key), list):
            written[key] = list(_each(key, listed, everybody, reader))
    return written, groups


def _members(name: str, table: dict[str, Any], members: Sequence[str], reader: Reader) -> dict[str, Any]:
    for key in _OWN:
        if key in table:
            reader.fail(("hosts", name, key), f"the {len(members)} hosts of a group cannot share it")
    for member in members:
        reader.stand_for(("hosts", member), ("hosts", name))
    return {member: {key: table[key] for key in table if key != COUNT} for member in members}


def _each(key: str, tables: list[Any], groups: Groups, reader: Reader) -> Iterator[Any]:
    """Each table, once for each host that its names stand for."""
    place = 0
    for at, table in enumerate(tables):
        for each in _written_out(table, groups, (key, at), reader):
            if place == MOST_WRITTEN:
                reader.fail(
                    (key, at), f"more than {MOST_WRITTEN:,} are meant, from the first one of the file to this one"
                )
            reader.stand_for((key, place), (key, at))
            place += 1
            yield each


def _written_out(table: Any, groups: Groups, path: Path, reader: Reader) -> Iterator[Any]:
    named = [name for name in _NAMING if isinstance(table, dict) and isinstance(table.get(name), str)]
    if not any(table[name] in groups for name in named):
        yield table
        return
    is_left = False
    for names in product(*(groups.get(table[name], (table[name],)) for name in named)):
        if len({*names}) == len(names):  # no host is its own peer
            is_left = True
            yield {**table, **dict(zip(named, names, strict=True))}
    if not is_left:
        reader.fail(path, "no two hosts are left that this could be about")
