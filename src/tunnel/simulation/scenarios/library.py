"""Where the scenarios are that come with the project, and which files a person means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunnel.model.errors import SettingsError

_PACKAGE = Path(__file__).parents[2]


def simulations_folder(package: Path = _PACKAGE) -> Path:
    """The folder `simulations`: inside the installed package, else beside `src` in a checkout."""
    installed = package / "simulations"
    return installed if installed.is_dir() else package.parents[1] / "simulations"


def scenario_files(wanted: Sequence[Path]) -> list[Path]:
    """The files that are meant: a file, all of a folder, or the name of a scenario of ours; nothing means all of ours.

    Sorted within a folder. Raises SettingsError for what is none of these.
    """
    ours = simulations_folder() / "scenarios"
    files: list[Path] = []
    for each in wanted or (ours,):
        named = ours / f"{each}.toml"
        if each.is_dir():
            found = sorted(each.glob("*.toml"))
            if not found:
                raise SettingsError(f"{each}: no scenario in this folder (*.toml)")
            files += found
        elif each.is_file():
            files.append(each)
        elif named.is_file():
            files.append(named)
        else:
            raise SettingsError(f"{each}: no such file or folder, and no scenario that comes with the program")
    return list(dict.fromkeys(files))
