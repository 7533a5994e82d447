"""Structures tables of a TOML file into dataclasses by the types of their fields; each fault names its line and key."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cache
from typing import Any, NoReturn, TypeVar

from tunnel.model.endpoint import Endpoint, parse_endpoint
from tunnel.model.errors import SettingsError
from tunnel.model.toml_file import LONGEST_SHOWN, shown
from tunnel.verify.simulation.scenarios.ranges import SHARE, range_of
from tunnel.verify.simulation.scenarios.toml_lines import Path, line_of

_Value = TypeVar("_Value")
_EXACT = 1 << 53
"""Larger whole numbers are not read as floats; no range includes them."""


class Reader:
    """Reads values from the tables of one file. Every fault raises SettingsError: `FILE:LINE: KEY: what is wrong`."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self._written_as: dict[Path, Path] = {}

    def stand_for(self, path: Path, written: Path) -> None:
        """Report faults at `path` as faults at `written`, where the file has them. Both paths have the same length."""
        self._written_as[path] = written

    def fail(self, path: Path, text: str) -> NoReturn:
        """Raise SettingsError with what is wrong, and where."""
        path = self._written_as.get(path[:2], path[:2]) + path[2:]
        key = ".".join(_part(part) for part in path) or "the file"
        raise SettingsError(f"{self._file}:{line_of(self._text, path)}: {key}: {text}")

    def check_keys(self, table: Mapping[str, Any], known: Iterable[str], path: Path) -> None:
        """Check that all keys are known."""
        names = list(known)
        for key in table:
            if key not in names:
                hint = meant(key, names).removeprefix(": ") or f"one of {', '.join(sorted(names))}"
                self.fail((*path, key), f"unknown key: {hint}")

    def table(self, value: object, path: Path) -> dict[str, Any]:
        """Check that the value is a table."""
        if not isinstance(value, dict):
            self.fail(path, f"a table is expected, not {shown(value)}")
        return value

    def read(self, kind: type[_Value], table: object, path: Path) -> _Value:
        """Read a table as a dataclass: unknown keys and wrong types are faults, missing keys have their defaults."""
        fields = self.table(table, path)
        hints = hints_of(typing.cast("type", kind))
        self.check_keys(fields, hints, path)
        for field in dataclasses.fields(kind):  # type: ignore[arg-type]
            is_owed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if is_owed and field.name not in fields:
                self.fail(path, f"{field.name!r} is missing")
        name_of_kind = typing.cast("type", kind).__name__
        return kind(
            **{name: self.value(hints[name], value, (*path, name), name_of_kind) for name, value in fields.items()}
        )

    def value(self, hint: Any, value: object, path: Path, kind: str = "") -> Any:
        """Read a value by its type hint. `kind` is the class that has the field: some have ranges of their own."""
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
            return self.value(next(arm for arm in typing.get_args(hint) if arm is not type(None)), value, path, kind)
        if typing.get_origin(hint) is tuple:
            if not isinstance(value, list):
                self.fail(path, f"a list is expected, not {shown(value)}")
            return tuple(self.value(typing.get_args(hint)[0], item, (*path, at)) for at, item in enumerate(value))
        if dataclasses.is_dataclass(hint):
            return self.read(typing.cast("type[Any]", hint), value, path)
        if isinstance(hint, type) and issubclass(hint, Enum):
            return self._word(hint, value, path)
        if hint is Endpoint:
            return self._endpoint(value, path)
        if hint is float and type(value) is int and abs(value) < _EXACT:
            value = float(value)
        if type(value) is not hint:
            self.fail(path, f"{_NAMES.get(hint, hint)} is expected, not {shown(value)}")
        if hint in (int, float):
            self._vet_number(typing.cast("float", value), kind, path)
        return value

    def _vet_number(self, value: float, kind: str, path: Path) -> None:
        """Check that a number is finite and in its range."""
        key = next(part for part in reversed(path) if isinstance(part, str))
        limits = range_of(kind, key, is_whole=isinstance(value, int))
        if limits is SHARE and not 0.0 <= value <= 1.0:
            self.fail(path, f"{shown(value)} is no share: 0 to 1")
        if not limits.least <= value <= limits.most:
            self.fail(path, f"{shown(value)} is not between {limits}")

    def _word(self, hint: type[Enum], value: object, path: Path) -> Enum:
        try:
            return hint(value)
        except ValueError:
            words = [str(member.value) for member in hint]
            self.fail(path, f"{shown(value)} is none of {', '.join(words)}{meant(value, words)}")

    def _endpoint(self, value: object, path: Path) -> Endpoint:
        if not isinstance(value, str):
            self.fail(path, f"IP:PORT is expected, not {shown(value)}")
        try:
            return parse_endpoint(value)
        except SettingsError as error:
            self.fail(path, str(error) if len(value) <= LONGEST_SHOWN else f"IP:PORT is expected, not {shown(value)}")


def meant(word: object, known: Iterable[str]) -> str:
    """The suffix of a message about an unknown word: the nearest known one, if any is near."""
    if not isinstance(word, str):
        return ""
    near = difflib.get_close_matches(word[:LONGEST_SHOWN], list(known), n=1)
    return f": did you mean {near[0]!r}?" if near else ""


@cache
def hints_of(kind: type) -> dict[str, Any]:
    """The type of each field of a dataclass, by name."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _part(part: str | int) -> str:
    """A part of a key, for messages."""
    text = str(part)
    return text if text.isprintable() and len(text) <= LONGEST_SHOWN else shown(part)


_NAMES: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
