"""Where in a TOML file a key stands: the standard reader tells lines of broken syntax only."""

from __future__ import annotations

from tunnel.model.toml_file import statements

Path = tuple[str | int, ...]
"""The way to a value: keys of tables, places in arrays."""


class Lines:
    """The lines of a file's tables and keys. What is inside an inline table stands where that begins."""

    def __init__(self, text: str, file: str = "") -> None:
        self._lines: dict[Path, int] = {(): 1}
        table: Path = ()
        counts: dict[Path, int] = {}
        for line, opener, key in statements(text, file):
            if opener == "=":
                self._note(table, key, line)
                continue
            table = ()
            for part in key[:-1]:
                table = (*table, part)
                if table in counts:  # the last one so far is meant
                    table = (*table, counts[table])
            if opener == "[[":
                counts[*table, key[-1]] = counts.get((*table, key[-1]), -1) + 1
                self._note(table, key[-1:], line)
                table = (*table, key[-1], counts[*table, key[-1]])
                self._note(table, (), line)
            else:
                self._note(table, key[-1:], line)
                table = (*table, key[-1])

    def line_of(self, path: Path) -> int:
        """The line of a value, or of the nearest table around it."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def _note(self, table: Path, key: Path, line: int) -> None:
        for depth in range(len(table) + len(key), 0, -1):
            self._lines.setdefault((*table, *key)[:depth], line)
