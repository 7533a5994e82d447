"""Where a command keeps its state and where its node listens, when no option says so (docs/cli.md)."""

from __future__ import annotations

import os
from pathlib import Path

from tunnel.model.errors import DeviceError

_NAME = "p2ptunnel-trio"
CONTROL = "control.sock"
INVITE = "invite"
"""The file of the state directory that holds the invite, mode 0600."""


def default_state() -> Path:
    """/var/lib for root; else $XDG_STATE_HOME or ~/.local/state."""
    if os.geteuid() == 0:
        return Path("/var/lib") / _NAME
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state") / _NAME


def default_control(state: Path | None = None) -> Path:
    """In the state directory if one was named; else /run for root, the default state directory for others."""
    if state is not None:
        return state / CONTROL
    return Path("/run") / _NAME / CONTROL if os.geteuid() == 0 else default_state() / CONTROL


def make_folder(folder: Path, option: str) -> None:
    """Make a folder that only its owner may enter, unless it is there. Raises DeviceError naming the option."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(f"cannot make the folder {folder}: {error.strerror}; choose another with {option}") from None
