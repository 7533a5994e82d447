"""Where in a TOML file a key stands: the standard reader tells lines of broken syntax only."""

from __future__ import annotations

import re

Path = tuple[str | int, ...]
"""The way to a value: keys of tables, places in arrays."""

_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_ARRAY_HEADER = re.compile(r"\s*\[\[\s*([^\[\]]+?)\s*\]\]\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_WORD = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


class Lines:
    """The lines of a file's tables and keys. What is inside an inline table stands where that begins."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {(): 1}
        table: Path = ()
        counts: dict[Path, int] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if match := _ARRAY_HEADER.match(line):
                name = _words(match[1])
                counts[name] = counts.get(name, -1) + 1
                table = (*name, counts[name])
                self._lines.setdefault(table, number)
            elif match := _HEADER.match(line):
                table = _words(match[1])
                for depth in range(1, len(table) + 1):
                    self._lines.setdefault(table[:depth], number)
            elif match := _KEY.match(line):
                self._lines.setdefault((*table, *_words(match[1])), number)

    def line_of(self, path: Path) -> int:
        """The line of a value, or of the nearest table around it."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]


def _words(dotted: str) -> Path:
    return tuple(word.strip("\"'") for word in _WORD.findall(dotted))
