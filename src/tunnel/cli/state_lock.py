"""One process for each state folder: two with one key would replace each other at the server again and again.

The kernel drops the lock with the process, however it ends. The file says which process holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunnel.model.errors import DeviceError

NODE, SERVER = "node.lock", "server.lock"


@contextmanager
def holding(folder: Path, name: str, *, who: str, remedy: str) -> Iterator[None]:
    """Hold the folder for the length of the block. Raises DeviceError if another process does.

    A folder that cannot be written, or that has no locks, keeps no program from running.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            lock = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            stack.callback(os.close, lock)
            if not _take(lock):
                holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
                process = f"process {holder}" if holder.isdigit() else "another process"
                raise DeviceError(f"{who} runs on the state folder {folder} already ({process}): {remedy}")
        yield


def is_held(folder: Path, name: str) -> bool:
    """Whether a process runs on that folder."""
    try:
        lock = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
    return False


def _take(lock: int) -> bool:
    """Whether the lock is ours now. Raises OSError where there are no locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return True
