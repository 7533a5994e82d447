"""Small files kept in memory only: of a node without a state folder, and of simulated ones."""

from __future__ import annotations

import errno
import os

from tunnel.model.errors import DeviceError


class MemoryStore:
    """Small files in a dict. In a simulation it outlives the processes of its host; while it `is_full`, writes fail."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.is_full = False

    def read(self, name: str) -> bytes | None:
        """The content, or None."""
        return self.files.get(name)

    def write(self, name: str, content: bytes) -> None:
        """Replace. Raises DeviceError."""
        if self.is_full:
            raise DeviceError(f"{name} cannot be written: {os.strerror(errno.ENOSPC)}")
        self.files[name] = bytes(content)

    def remove(self, name: str) -> None:
        """Let there be no such file."""
        self.files.pop(name, None)
