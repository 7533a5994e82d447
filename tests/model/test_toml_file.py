"""TOML files of anybody: read whole, or refused soon, always by name."""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tunnel.model.errors import SettingsError
from tunnel.model.toml_file import DEEPEST, MOST_BYTES, Statement, parse_toml, read_text, statements

TEXT = '''# a comment [not.a.table]
title = "a # b [c]"   # [nor.this]
about = """
[looks.like.a.header]
key = "and this like a key" \\""" ""quoted"" """""
plain = \'\'\'
[[again]] \'\'\'\'
list = [ # with a comment ]
  "]", [1, 2],
]
[hosts."my.desk"] # here
line = { loss_up = 0.5, name = "}" }
a . 'b c' . d = 1

  [[ do ]]
at = 1
'''


def test_headers_and_keys_are_found_and_what_is_inside_strings_is_none() -> None:
    tomllib.loads(TEXT)
    assert list(statements(TEXT, "f")) == [
        Statement(2, "=", ("title",)),
        Statement(3, "=", ("about",)),
        Statement(6, "=", ("plain",)),
        Statement(8, "=", ("list",)),
        Statement(11, "[", ("hosts", "my.desk")),
        Statement(12, "=", ("line",)),
        Statement(13, "=", ("a", "b c", "d")),
        Statement(15, "[[", ("do",)),
        Statement(16, "=", ("at",)),
    ]


def test_a_document_with_a_mark_of_byte_order_and_foreign_ends_of_lines_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert parse_toml(read_text(file), "a") == tomllib.loads(TEXT)


HOSTILE = {
    "a string of quotes without end": "a = " + '"\\' * 200_000,
    "an array of strings without end": "a = [" + '"x\\' * 200_000,
    "a key of parts without end": "a." * 200_000,
    "a header of parts without end": "[" + "a . " * 200_000,
    "a bracket and blanks in a text of many lines": 'about = """\n[' + " " * 400_000 + '\n"""',
    "a bracket and blanks": "[" + " " * 400_000,
    "a key of blanks": "a" + " " * 400_000,
    "quotes": '"' * 400_000,
    "quotes in a text of many lines": 'a = """' + '""\\"' * 100_000 + '"""',
    "a text of many lines without an end": 'a = """' + 'x"' * 200_000,
    "comments": "#\n" * 200_000,
    "a dotted key of many parts": "a." * 200_000 + "a = 1",
    "a dotted header of many parts": "[" + "a." * 200_000 + "a]",
    "brackets": "a = " + "[" * 200_000,
    "braces": "a = " + "{a=" * 100_000,
    "inline dots": "a = {" + "a." * 200_000 + "a = 1}",
    "digits": "a = " + "9" * 5000,
    "a day that is none": "a = 0000-01-01",
}


def test_a_file_saved_as_utf16_is_read(tmp_path: Path) -> None:
    """PowerShell's `>` does so."""
    file = tmp_path / "a.toml"
    file.write_bytes(("\ufeff" + 'name = "desk"\r\n').encode("utf-16-le"))
    assert parse_toml(read_text(file), "a") == {"name": "desk"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_read_or_refused_soon(name: str) -> None:
    began = time.process_time()
    with suppress(SettingsError):
        parse_toml(HOSTILE[name], "f")
    assert time.process_time() - began < 5.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n[" + "a." * DEEPEST + "a]", f"f:2: a key of more than {DEEPEST} parts"),
        ("[a]\n" + "a." * DEEPEST + "a = 1", f"f:2: a key of more than {DEEPEST} parts"),
        ("\n\na = " + "[" * 33 + "]" * 33, f"f:3: more than {DEEPEST} brackets within each other"),
        ("a = ", "f: not TOML: "),
        ("a = " + "9" * 5000, "f: not TOML: "),
    ],
)
def test_what_is_too_deep_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_toml(text, "f")
    assert str(caught.value).startswith(told)


def _make_fifo(file: Path) -> None:
    os.mkfifo(file)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_make_fifo, "no regular file"),
        (lambda file: file.symlink_to("/dev/zero"), "no regular file"),
        (Path.mkdir, "Is a directory"),
        (lambda file: file.write_bytes(b"#" * (MOST_BYTES + 1)), "more than 1,048,576 bytes"),
        (lambda file: file.write_bytes(b"\xff\xff"), "'utf-8' codec can't decode"),
        (lambda _: None, "No such file or directory"),
    ],
)
def test_what_is_no_text_file_of_modest_size_is_refused_by_name(
    tmp_path: Path, make: Callable[[Path], object], told: str
) -> None:
    file = tmp_path / "odd.toml"
    make(file)
    with pytest.raises(SettingsError) as caught:
        read_text(file)
    assert str(caught.value).startswith(f"{file}: cannot be read: {told}")
