"""Which labs exist on this machine, and who owns them: one JSON file a lab, written before anything is made.

A lab whose owner died half-way (kill -9, power) leaves its file behind, and the next start removes what the file names.
An owner is a process id together with its start time, so that a reused id is no owner.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tunnel.verify.netlab.namespaces import named_like, remove_namespaces

STATE = Path("/run/p2ptunnel-netlab")
"""Where labs are recorded unless the caller names another folder."""

_LAST_WORDS = 0.1  # seconds: an `ip` that a killed owner had just started may still make namespaces


class Entry:
    """One lab's entry in the ledger."""

    def __init__(self, state: Path = STATE) -> None:
        self._state = state
        self._namespaces: list[str] = []
        with _locked(state):
            self.id = self._unused_id()
            self._write()

    @property
    def prefix(self) -> str:
        """What the names of all namespaces of this lab begin with."""
        return _prefix(self.id)

    @property
    def namespaces(self) -> Sequence[str]:
        """The recorded namespaces, in order."""
        return tuple(self._namespaces)

    @property
    def folder(self) -> Path:
        """A folder for files of the lab's programs; it is removed with the lab."""
        return _folder(self._path)

    def record(self, namespaces: Sequence[str]) -> None:
        """Record namespaces that are about to be made."""
        self._namespaces += namespaces
        self._write()

    def close(self) -> None:
        """Remove everything recorded, then the entry."""
        remove_namespaces(self._namespaces)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._path.unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return self._state / f"{self.id}.json"

    def _unused_id(self) -> str:
        while True:
            candidate = secrets.token_hex(3)
            if not (self._state / f"{candidate}.json").exists() and not any(named_like(_prefix(candidate))):
                return candidate

    def _write(self) -> None:
        pid = os.getpid()
        content = {"owner": pid, "started": _start_time(pid), "namespaces": self._namespaces}
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(content))
        draft.rename(self._path)


def sweep(state: Path = STATE) -> list[str]:
    """Remove every lab whose owner is gone. Returns their ids."""
    swept = []
    with _locked(state):
        for path in sorted(state.glob("*.json")):
            content = json.loads(path.read_text())
            if _start_time(content["owner"]) == content["started"]:
                continue
            time.sleep(_LAST_WORDS)
            remove_namespaces(content["namespaces"])
            shutil.rmtree(_folder(path), ignore_errors=True)
            path.unlink()
            swept.append(path.stem)
    return swept


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folder(entry: Path) -> Path:
    return entry.with_suffix("")


def _prefix(lab_id: str) -> str:
    return f"p2pt-{lab_id}-"


def _start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc(5), field 22); None if there is no such process."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = status.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
