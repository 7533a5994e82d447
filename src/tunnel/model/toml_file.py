"""TOML files of this machine: at most 128 KiB each, read by `tomllib`. Every error names the file."""

from __future__ import annotations

import codecs
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from tunnel.model.errors import SettingsError

MOST_BYTES = 128 << 10
MOST_DOTS = 1000
"""In one line. `tomllib` takes time with the square of a key's parts: two minutes for a key of 60,000."""
LONGEST_SHOWN = 80
"""Characters of a value in a message."""


def read_text(file: Path) -> str:
    """The text of a regular file of at most 128 KiB, without byte order mark. Raises SettingsError that names it."""
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
    """Without O_NONBLOCK a named pipe would be waited for until another process opens it."""
    return os.open(file, flags | os.O_NONBLOCK)


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """A whole document. Raises SettingsError that names the file, and the line where the syntax is broken."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MOST_DOTS:
            raise SettingsError(f"{file}: line {number} has more than {MOST_DOTS:,} dots")
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError is one; so is what a number of 5,000 digits ends in
        raise SettingsError(f"{file}: not TOML: {error}") from None
    except RecursionError:
        raise SettingsError(f"{file}: not TOML: it is nested too deeply") from None


def shown(value: object) -> str:
    """A value of a file as a message shows it: in one line, cut if it is long."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a huge number"
    except RecursionError:
        return "something nested"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."
