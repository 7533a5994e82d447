"""TOML from a file that anybody may have written: bounded in size and depth, so that reading it always ends soon.

The standard reader recurses into brackets and takes a time that grows with the square of a dotted key's length, and it
tells lines of broken syntax only. So each text is looked over first: `statements` finds where headers and keys stand.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tunnel.model.errors import SettingsError

MOST_BYTES = 1 << 20
LONGEST_SHOWN = 80
"""Characters of a value in a message."""
DEEPEST = 32
"""Brackets within brackets, and parts of a key with those of its table."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_PART = re.compile(r"""[ \t]*(?:([A-Za-z0-9_-]+)|"((?:[^"\\\n]|\\[^\n])*)"|'([^'\n]*)')[ \t]*""")
_TOKEN = re.compile(r"""\"{3}|'{3}|"(?:[^"\\\n]|\\[^\n])*"?|'[^'\n]*'?|\#[^\n]*|[\[\]{}=,.\n]""")
"""A string that does not end is a token too: else the search would begin anew at each quote in it."""
_ENDS = {
    '"""': re.compile(r'(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL),
    "'''": re.compile(r"(?:[^']|'{1,2}(?!'))*'{3,5}"),
}


class Statement(NamedTuple):
    """A header or a key: `opener` is `[`, `[[` or `=`."""

    line: int
    opener: str
    key: tuple[str, ...]


def read_text(file: Path) -> str:
    """The text of a regular file of at most 1 MiB, without its byte order mark. Raises SettingsError that names it."""
    try:
        with open(file, "rb", opener=_open_at_once) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise SettingsError(f"{file}: cannot be read: no regular file")
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise SettingsError(f"{file}: cannot be read: more than {MOST_BYTES:,} bytes")
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # PowerShell's `>`
            return content.decode("utf-16")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from None


def _open_at_once(file: str, flags: int) -> int:
    """Nobody has to open the other end of a pipe."""
    return os.open(file, flags | os.O_NONBLOCK)


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """A whole document. Raises SettingsError that names the file, and the line where it knows it."""
    text = text.replace("\r\n", "\n")
    header = 0
    for statement in statements(text, file):
        depth = len(statement.key)
        if statement.opener == "=":
            depth += header
        else:
            header = depth
        if depth > DEEPEST:
            raise SettingsError(f"{file}:{statement.line}: a key of more than {DEEPEST} parts")
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError is one; so is what a number of 5,000 digits ends in
        raise SettingsError(f"{file}: not TOML: {error}") from None
    except RecursionError:
        raise SettingsError(f"{file}: not TOML: it is nested too deeply") from None


def statements(text: str, file: str) -> Iterator[Statement]:
    """The headers and keys of a text in turn, those in inline tables apart; where it is broken, no more come.

    Takes a time that grows with the length alone. Raises SettingsError for brackets that are nested too deeply.
    """
    at = line = 0
    seen = 0

    def line_at(place: int) -> int:
        nonlocal line, seen
        line += text.count("\n", seen, place)
        seen = place
        return line + 1

    while (at := _end_of(_BLANK, text, at)) < len(text):
        number = line_at(at)
        opener = "[[" if text.startswith("[[", at) else "[" if text[at] == "[" else "="
        if opener != "=":
            at += len(opener)
        key, at = _key(text, at)
        if len(key) > DEEPEST:
            raise SettingsError(f"{file}:{number}: a key of more than {DEEPEST} parts")
        closer = opener.replace("[", "]")
        if not key or not text.startswith(closer, at):
            return
        at += len(closer)
        yield Statement(number, opener, key)
        if opener != "=":
            continue
        depth = dots = 0
        while (token := _TOKEN.search(text, at)) is not None:
            at = token.end()
            word = token[0]
            if word in _ENDS:  # the text goes on until the same
                end = _ENDS[word].match(text, at)
                if end is None:
                    return
                at = end.end()
            elif word[0] in "\"'" and (len(word) == 1 or word[-1] != word[0]):
                return
            elif word == ".":  # of a number, or of a key in an inline table
                dots += 1
                if dots > DEEPEST:
                    raise SettingsError(f"{file}:{line_at(at)}: a key of more than {DEEPEST} parts")
            elif word in "=,":
                dots = 0
            elif word in "[{":
                dots = 0
                depth += 1
                if depth > DEEPEST:
                    raise SettingsError(f"{file}:{line_at(at)}: more than {DEEPEST} brackets within each other")
            elif word in "]}":
                depth -= 1
            elif word == "\n" and depth <= 0:
                break
        else:
            return


def shown(value: object) -> str:
    """A value of a file as a message shows it: in one line, and not all of it where it is long."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a huge number"
    except RecursionError:
        return "something nested"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def _key(text: str, at: int) -> tuple[tuple[str, ...], int]:
    parts: list[str] = []
    while (match := _PART.match(text, at)) is not None:
        bare, quoted, plain = match.groups()
        parts.append(_unescaped(quoted) if quoted is not None else bare if bare is not None else plain)
        at = match.end()
        if not text.startswith(".", at) or len(parts) > DEEPEST:  # of more parts nobody wants the rest
            return tuple(parts), at
        at += 1
    return (), at


def _unescaped(quoted: str) -> str:
    if "\\" not in quoted:
        return quoted
    try:
        return str(tomllib.loads(f'key = "{quoted}"')["key"])
    except ValueError:
        return quoted


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return at if match is None else match.end()
