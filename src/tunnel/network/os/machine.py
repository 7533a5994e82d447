"""The machine's clocks, its randomness, its limit of open files, and small private files."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import sys
import time
from pathlib import Path

from tunnel.model.errors import DeviceError
from tunnel.network.os.file_trust import check_file, check_folder
from tunnel.network.suspend_detection import CopyWatch, wait_slept

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class RealClock:
    """The kernel's clocks."""

    def __init__(self) -> None:
        self._copies = CopyWatch(time.time, _steady, _boot_id)

    def wall(self) -> float:
        """Unix time."""
        return time.time()

    async def wait_slept(self) -> float:
        """Return after the next suspension of the machine: its seconds."""
        return await wait_slept(_boot)

    async def wait_copied(self) -> str:
        """Return when this process may be running from a copy of its memory: what shows that."""
        return await self._copies.wait()


class RealEntropy:
    """The kernel's randomness."""

    def __init__(self) -> None:
        self.chance: random.Random = random.SystemRandom()

    def token(self, size: int) -> bytes:
        """Unguessable bytes."""
        return os.urandom(size)


def _boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _steady() -> float:
    """The boot clock at the rate of the machine's own crystal: a time service slews CLOCK_BOOTTIME too."""
    asleep = _boot() - time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW) + asleep


def _boot_id() -> str:
    """Constant while the kernel runs; empty if it cannot be read."""
    try:
        return _BOOT_ID.read_text()
    except OSError:
        return ""


def raise_descriptor_limit() -> int:
    """Raise the limit of open files to its maximum, and return that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


class RealStore:
    """Files in one directory, which is created (mode 0700) when the first is written.

    Files that others may write are not used; files that others may read are warned of (file_trust.py).
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._looked_at: set[str] = set()
        """The folder (an empty name) and the files that have been checked."""

    def read(self, name: str) -> bytes | None:
        """The content, or None if there is no such file. Raises DeviceError if it cannot be read or trusted."""
        self._check_folder()
        path = self._directory / name
        try:
            with path.open("rb") as file:
                if name not in self._looked_at:
                    check_file(path, os.fstat(file.fileno()))
                    self._looked_at.add(name)
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DeviceError(f"{self._directory / name} cannot be read: {error.strerror}") from error

    def write(self, name: str, content: bytes) -> None:
        """Replace atomically and durably, readable by the owner only. Raises DeviceError."""
        self._check_folder()
        path = self._directory / name
        fresh = self._directory / f".{name}.{os.getpid()}"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            self._sync_directory()
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise DeviceError(f"{path} cannot be written: {error.strerror}") from error

    def remove(self, name: str) -> None:
        """Remove the file, if there is one. Raises DeviceError."""
        path = self._directory / name
        try:
            path.unlink()
            self._sync_directory()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise DeviceError(f"{path} cannot be removed: {error.strerror}") from error

    def _check_folder(self) -> None:
        if "" not in self._looked_at:
            check_folder(self._directory)
            self._looked_at.add("")

    def _sync_directory(self) -> None:
        """Otherwise a power cut might undo the rename."""
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
