"""TOML files of this machine: read whole, or refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tunnel.model.errors import SettingsError
from tunnel.model.toml_file import MOST_BYTES, parse_toml, read_text


def test_a_document_with_a_mark_of_byte_order_and_foreign_ends_of_lines_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b'\xef\xbb\xbfname = "desk"\r\ntext = """\r\ntwo\r\nlines"""\r\n')
    assert parse_toml(read_text(file), "a") == {"name": "desk", "text": "two\nlines"}


def test_a_file_saved_as_utf16_is_read(tmp_path: Path) -> None:
    """PowerShell's `>` does so."""
    file = tmp_path / "a.toml"
    file.write_bytes(("\ufeff" + 'name = "desk"\r\n').encode("utf-16-le"))
    assert parse_toml(read_text(file), "a") == {"name": "desk"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = ", "f: not TOML: Invalid value (at "),
        ("a = 1\nb = [\n", "f: not TOML: "),
        ('a = "\n', "f: not TOML: Illegal character '\\n' (at line 1, column 6)"),
        ("a = 1\na = 2", "f: not TOML: Cannot overwrite a value (at "),
        ("a = " + "9" * 5000, "f: not TOML: "),
        ("a = 0000-01-01", "f: not TOML: "),
        ("a = " + "[" * 200_000, "f: not TOML: it is nested too deeply"),
        ("a = " + "{a=" * 100_000, "f: not TOML: it is nested too deeply"),
    ],
    ids=["no value", "no end", "half a string", "a key twice", "many digits", "no day", "brackets", "braces"],
)
def test_a_broken_text_is_refused_by_the_name_of_its_file(text: str, told: str) -> None:
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
        (lambda file: file.write_bytes(b"#" * (MOST_BYTES + 1)), "more than 131,072 bytes"),
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


@pytest.mark.parametrize("line", ["a{}=1", "[a{}]", 'x = {{ "a"{} = 1 }}'])
def test_a_key_of_many_parts_costs_no_time(line: str) -> None:
    """A reader that took it apart would need minutes for what a small file holds."""
    with pytest.raises(SettingsError, match="line 2 has more than 1,000 dots"):
        parse_toml("\n" + line.format(".a" * 60_000), "odd.toml")
