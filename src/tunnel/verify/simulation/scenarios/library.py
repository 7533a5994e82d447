"""Finds the scenarios that come with the program, and the files that a user names."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from tunnel.model.errors import SettingsError

_PACKAGE = Path(__file__).parents[3]


def simulations_folder(package: Path = _PACKAGE) -> Path:
    """The folder `simulations`: inside the installed package, else beside `src` in a checkout."""
    installed = package / "simulations"
    return installed if installed.is_dir() else package.parents[1] / "simulations"


def scenario_files(wanted: Sequence[Path]) -> list[Path]:
    """The files that are wanted: files, all files of folders, or scenarios of ours by name; none means all of ours.

    Sorted within a folder. Raises SettingsError for anything else.
    """
    ours = simulations_folder() / "scenarios"
    files: list[Path] = []
    for each in wanted or (ours,):
        try:
            files += _files_of(each, ours)
        except OSError as error:
            raise SettingsError(f"{each}: cannot be read: {error.strerror}") from None
    return list(dict.fromkeys(files))


def _files_of(wanted: Path, ours: Path) -> list[Path]:
    if wanted.is_dir():
        found = sorted(entry for entry in wanted.iterdir() if entry.suffix == ".toml")
        if not found:
            raise SettingsError(f"{wanted}: no scenario in this folder (*.toml)")
        return found
    if wanted.exists():
        return [wanted]
    named = ours / f"{wanted}.toml"
    if named.is_file():
        return [named]
    near = get_close_matches(str(wanted), [file.stem for file in sorted(ours.glob("*.toml"))], n=1)
    hint = f": did you mean {near[0]!r}?" if near else ""
    raise SettingsError(f"{wanted}: no such file or folder, and no scenario that comes with the program{hint}")
