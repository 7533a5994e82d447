"""Whether other users may change or read what a node keeps: its key, its invite, its peers' names.

A user who may write to the folder can put another key or another network there. If everybody may, that is an error.
What may be intended, a group or another owner, is a warning, once, with the remedy.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from tunnel.model.errors import DeviceError

_ROOT = 0
_log = logging.getLogger(__name__)


def check_folder(folder: Path) -> None:
    """Raise DeviceError if everybody may write to it or replace it. One that does not exist yet is created private."""
    _check_parents(folder)
    try:
        found = folder.stat()
    except OSError:
        return
    if found.st_mode & stat.S_IWOTH:
        raise DeviceError(
            f"everybody on this machine may write to the state folder {folder}, and so change the key and the network: "
            f"run `chmod go-w {folder}`, or choose another folder with --state"
        )
    if found.st_uid not in (_ROOT, os.geteuid()):
        _log.warning(
            "the state folder %s belongs to another user (%d), who may change this node's key and network: "
            "`chown` it, or choose another folder with --state",
            folder,
            found.st_uid,
        )
    elif found.st_mode & stat.S_IWGRP:
        _log.warning(
            "the group %d may write to the state folder %s, and so change this node's key and network: "
            "run `chmod go-w %s` unless you are alone in that group",
            found.st_gid,
            folder,
            folder,
        )


def _check_parents(folder: Path) -> None:
    """Of the path as written, and with links resolved. In a sticky folder nobody can rename another user's files."""
    for parent in dict.fromkeys((*folder.absolute().parents, *folder.resolve().parents)):
        try:
            mode = parent.stat().st_mode
        except OSError:
            continue
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise DeviceError(
                f"everybody on this machine may write to {parent}, and so put another folder in the place of the state "
                f"folder {folder}: run `chmod o-w {parent}`, or choose another folder with --state"
            )


def check_file(path: Path, found: os.stat_result) -> None:
    """Raise DeviceError if everybody may write to it; warn if other users may read it or own it."""
    if found.st_mode & stat.S_IWOTH:
        raise DeviceError(
            f"everybody on this machine may write to {path}: run `chmod 600 {path}`, if you trust it still"
        )
    if found.st_uid not in (_ROOT, os.geteuid()):
        _log.warning("%s belongs to another user (%d), who may change it: `chown` it", path, found.st_uid)
    elif found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning(
            "others on this machine may open %s, which may hold a secret: run `chmod 600 %s`; if they did, "
            "make a new network or a new key",
            path,
            path,
        )
