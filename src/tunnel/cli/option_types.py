"""What the value of an option may be, in words: for errors of the command line and of settings files."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

_WORDS: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number"}


def describe_type(hint: Any) -> str:
    """What a value of this type is called, such as "a whole number"."""
    return " or ".join(map(_describe, _parts(hint)))


def fits(value: object, hint: Any) -> bool:
    """Whether a value of a TOML file has this type. There neither true nor "5" is a number."""
    return any(_fits(value, kind) for kind in _parts(hint))


def _describe(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    return "a list of texts" if get_origin(kind) is tuple else _WORDS.get(kind, "a text")


def _fits(value: object, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind is float:
        return type(value) in (int, float)
    return type(value) is (kind if kind in _WORDS else str)


def _parts(hint: Any) -> tuple[Any, ...]:
    """The types that a union unites, without None."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return tuple(part for part in parts if part is not NoneType)
