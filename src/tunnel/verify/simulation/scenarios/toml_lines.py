"""Finds the line of a key in a TOML file: the standard reader reports lines of broken syntax only."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

Path = tuple[str | int, ...]
"""The path to a value: keys of tables, indices of arrays."""


def line_of(text: str, path: Path) -> int:
    """The line of a value, or of the nearest table around it. The text must be valid TOML."""
    lines = _lines_of(text)
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _lines_of(text: str) -> dict[Path, int]:
    """The first line of each table and key. The content of an inline table is on the line where that begins."""
    lines: dict[Path, int] = {(): 1}
    table: Path = ()
    latest: dict[Path, int] = {}
    """The index of the current table of each array of tables."""
    for line, is_header, content in _statements(text):
        path = () if is_header else table
        for key, is_array in _keys_of(content):
            path = (*path, key)
            lines.setdefault(path, line)
            if is_header and is_array:
                latest[path] = latest.get(path, -1) + 1
            if path in latest:
                path = (*path, latest[path])
                lines.setdefault(path, line)
        if is_header:
            table = path
    return lines


def _keys_of(content: Any) -> Iterator[tuple[str, bool]]:
    """The parts of a statement's key, each with whether `[[key]]` would make it."""
    while isinstance(content, dict) and len(content) == 1:
        [(key, content)] = content.items()
        yield key, content == [{}]


def _statements(text: str) -> Iterator[tuple[int, bool, Any]]:
    """Each header or key with its value: its first line, whether it is a header, and what it parses to by itself.

    A statement is the smallest number of lines that parse: the beginning of one never does.
    """
    begun: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        begun.append(line)
        with suppress(ValueError, RecursionError):
            content = tomllib.loads("\n".join(begun))
            if content:  # neither blank nor a comment
                yield number - len(begun) + 1, begun[0].lstrip().startswith("["), content
            begun.clear()
