"""Files that a command is told to write: checked before it does its work, written after it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from tunnel.model.errors import DeviceError, SettingsError


def check_output_file(option: str, target: Path | None, taken: Iterable[Path] = ()) -> None:
    """Check that a file can be written, and is none of `taken`, which are read or written too.

    Raises SettingsError if it is one of those, DeviceError if it cannot be written. No folder is made for it.
    """
    if target is None:
        return
    try:
        for other in taken:
            if target.resolve() == other.resolve() or (target.exists() and other.exists() and target.samefile(other)):
                raise SettingsError(f"{option} {target}: {other} would be overwritten")
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _check_access(target if target.exists() else _folder_of(target))
    except OSError as error:
        raise _cannot_write(target, error) from None


def check_output_folder(option: str, folder: Path | None) -> None:
    """Check that a folder can be written to, or made. Raises SettingsError or DeviceError."""
    if folder is None:
        return
    try:
        if folder.exists() and not folder.is_dir():
            raise SettingsError(f"{option} {folder}: a folder is expected, and this is a file")
        _check_access(folder if folder.exists() else _folder_of(folder))
    except OSError as error:
        raise _cannot_write(folder, error) from None


def write_output_file(target: Path, text: str) -> None:
    """Write a text. Raises DeviceError."""
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _cannot_write(target, error) from None


def write_file_in(folder: Path, name: str, text: str) -> None:
    """Write a file in a folder, which is made if it is missing. Raises DeviceError."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    write_output_file(folder / name, text)


def _folder_of(target: Path) -> Path:
    folder = target.resolve().parent
    folder.stat()
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return folder


def _check_access(place: Path) -> None:
    if not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _cannot_write(target: Path, error: OSError) -> DeviceError:
    return DeviceError(f"cannot write {target}: {error.strerror}")
