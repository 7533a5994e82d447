"""The leases of a simulated server, kept on its machine's disk from one start to the next."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from tunnel.network.memory_store import MemoryStore
from tunnel.server.lease_file import DiskFails, Key, Row


class KeptLeases:
    """A `LeaseStore` that fails to write while the disk is full."""

    def __init__(self, disk: MemoryStore) -> None:
        self._disk = disk
        self._rows: dict[Key, Row] = {}

    def read(self) -> list[Row]:
        """All rows."""
        return list(self._rows.values())

    def write(self, kept: Iterable[Row], gone: Iterable[Key]) -> None:
        """Write these rows, and delete those of these keys: all or nothing. Raises DiskFails."""
        if self._disk.is_full:
            raise DiskFails(os.strerror(errno.ENOSPC))
        for key in gone:
            self._rows.pop(key, None)
        self._rows |= {row[:2]: row for row in kept}

    def close(self) -> None:
        """There is nothing to close."""
