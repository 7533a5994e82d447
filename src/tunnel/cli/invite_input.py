"""An invite as it is handed to a command: in a file, on stdin, at a hidden prompt, or kept in the state folder.

It is never an option, since it holds the network's secret. It is checked before anything else happens.
"""

from __future__ import annotations

import codecs
import sys
from pathlib import Path

from tunnel.cli import launch
from tunnel.cli.default_paths import INVITE
from tunnel.crypto.network_keys import open_invite
from tunnel.model.errors import SettingsError
from tunnel.model.invite import Invite

MAX_INVITE = 64 * 1024


def stored_invite(folder: Path, elsewhere: str = "") -> Invite:
    """The invite that `join` kept. Raises SettingsError if there is none; `elsewhere` adds where there may be one."""
    kept = launch.this_machine(folder).store.read(INVITE)
    if kept is None:
        raise SettingsError(
            f"this node is in no network yet ({folder} holds no invite): run `p2ptunnel-trio join`, as the same user"
            + elsewhere
        )
    return parse_invite(kept.decode("ascii", "replace"))


def read_invite_file(path: Path) -> Invite:
    """An invite from a file. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_INVITE)
    except OSError as error:
        raise SettingsError(f"cannot read the invite file {path}: {error.strerror}") from None
    if not content.strip():
        raise SettingsError(f"the invite file {path} is empty")
    return parse_invite(_text(content))


def typed_invite() -> str:
    """The text that comes on stdin, or is typed at a hidden prompt. Raises SettingsError if it is empty."""
    if sys.stdin is None or not sys.stdin.isatty():
        typed, where = _piped_invite(), "stdin is empty"
    else:
        from getpass import getpass

        try:
            typed, where = getpass("Invite (not shown): "), "nothing was typed"
        except EOFError:
            typed, where = "", "nothing was typed"
        except KeyboardInterrupt:
            print(file=sys.stderr)  # the shell's prompt gets a line of its own
            raise
    if not typed.strip():
        raise SettingsError(f"no invite was given: {where}")
    return typed


def parse_invite(text: str) -> Invite:
    """The invite in a text. Raises SettingsError."""
    found, _ = open_invite(text)
    return found


def _piped_invite() -> str:
    if sys.stdin is None:  # it was closed
        return ""
    binary = getattr(sys.stdin, "buffer", None)
    return sys.stdin.read(MAX_INVITE) if binary is None else _text(binary.read(MAX_INVITE))


def _text(content: bytes) -> str:
    """Text as an editor or a shell saved it, by its byte order mark: PowerShell writes UTF-16."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    return content.decode("utf-8-sig", "replace")
