"""Where a command keeps its state and where its node listens, when no option says so (docs/cli.md)."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

from tunnel.model.errors import DeviceError, SettingsError

_NAME = "p2ptunnel-trio"
CONTROL = "control.sock"
ROOTS_CONTROL = Path("/run") / _NAME / CONTROL
"""Where root's node listens."""
INVITE = "invite"
"""The file of the state folder that holds the invite, mode 0600."""


def default_state() -> Path:
    """/var/lib for root; else $XDG_STATE_HOME or ~/.local/state. Raises SettingsError: this user has no home."""
    if os.geteuid() == 0:
        return Path("/var/lib") / _NAME
    folder = os.environ.get("XDG_STATE_HOME", "")
    return (Path(folder) if os.path.isabs(folder) else _home() / ".local" / "state") / _NAME


def default_control(state: Path | None = None) -> Path:
    """In the state folder if one was named; else /run for root, the default state folder for others.

    Raises SettingsError as `default_state` does.
    """
    if state is not None:
        return state / CONTROL
    return ROOTS_CONTROL if os.geteuid() == 0 else default_state() / CONTROL


def shown_path(path: Callable[[], Path]) -> str:
    """A default path as the help shows it, also to a user who has none."""
    try:
        return str(path())
    except SettingsError:
        return "none: this user has no home folder"


def make_folder(folder: Path, option: str) -> None:
    """Make a folder that only its owner may enter, unless it is there. Raises DeviceError naming the option."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(f"cannot make the folder {folder}: {error.strerror}; choose another with {option}") from None


def _home() -> Path:
    home = os.environ.get("HOME", "")
    if not os.path.isabs(home):
        try:
            home = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            home = ""
    if not os.path.isabs(home):
        raise SettingsError("this user has no home folder, and HOME is not set: name a folder with --state DIR")
    return Path(home)
