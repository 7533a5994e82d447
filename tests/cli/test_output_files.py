"""What cannot be written is found before the work, not after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunnel.cli.output_files import check_output_file, check_output_folder, write_file_in, write_output_file
from tunnel.model.errors import DeviceError, SettingsError


def test_a_file_in_a_folder_that_exists_may_be_written(tmp_path: Path) -> None:
    check_output_file("--trace", None)
    check_output_file("--trace", tmp_path / "trace.txt")
    write_output_file(tmp_path / "trace.txt", "a\n")
    check_output_file("--trace", tmp_path / "trace.txt")
    assert (tmp_path / "trace.txt").read_text() == "a\n"


def test_no_file_is_overwritten_that_is_read_or_written_too(tmp_path: Path) -> None:
    """By whatever name it is given."""
    source = tmp_path / "scenario.toml"
    source.touch()
    link = tmp_path / "link.toml"
    link.symlink_to(source)
    for target in (source, tmp_path / "." / "scenario.toml", link):
        with pytest.raises(SettingsError, match="would be overwritten"):
            check_output_file("--diagram", target, [source])


def test_neither_a_folder_nor_a_missing_folder_is_a_file_to_write(tmp_path: Path) -> None:
    for target in (tmp_path, tmp_path / "missing" / "trace.txt"):
        with pytest.raises(DeviceError, match="cannot write"):
            check_output_file("--trace", target)


def test_a_folder_is_made_only_when_something_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    check_output_folder("--keep", folder)
    assert not folder.exists()
    write_file_in(folder, "a.md", "text")
    assert (folder / "a.md").read_text() == "text"
    check_output_folder("--keep", folder)
    with pytest.raises(SettingsError, match="this is a file"):
        check_output_folder("--keep", folder / "a.md")
