"""The leases on disk: read once when the server starts, then written row by row.

The disk may be full or read-only, or the file locked, for hours: then `DiskFails` is raised, nothing has been written,
and the caller keeps its changes. A file that is not a database of ours raises `DeviceError`: the operator has to look
at it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from tunnel.model.errors import DeviceError

LOCK_PATIENCE = 0.25
"""Seconds to wait for another process that locks the file (a backup). The whole server blocks meanwhile."""

LEASE_TABLE = """
CREATE TABLE lease (
    network BLOB NOT NULL,
    node BLOB NOT NULL,
    address INTEGER NOT NULL,
    since REAL NOT NULL,
    seen REAL NOT NULL,
    PRIMARY KEY (network, node),
    UNIQUE (network, address)
) WITHOUT ROWID;
"""
_FORMAT = 1
_INDEXES = "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'lease_by_%'"
"""Indexes that earlier versions made. Queries now go to memory only."""

_PASSING_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
_PASSING_CODES = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
    }
)

Row = tuple[bytes, bytes, int, float, float]
"""Network, node, address, since, seen."""
Key = tuple[bytes, bytes]
"""Network and node."""


class DiskFails(Exception):
    """The disk cannot be written now, but may be later. The text says why."""


class LeaseStore(Protocol):
    """Where leases are kept from one start of the server to the next."""

    def read(self) -> list[Row]:
        """All rows. Raises DeviceError."""
        ...

    def write(self, kept: Iterable[Row], gone: Iterable[Key]) -> None:
        """Write these rows, and delete those of these keys: all or nothing. Raises DiskFails."""
        ...

    def close(self) -> None:
        """Close."""
        ...


class LeaseFile:
    """One file. `read`, then `write`; both open it if it is not open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None

    def read(self) -> list[Row]:
        """All rows, even from a disk that cannot be written. Raises DeviceError."""
        try:
            return self._rows(self._opened())
        except DiskFails:
            return self._read_only()

    def write(self, kept: Iterable[Row], gone: Iterable[Key]) -> None:
        """Write these rows, and delete those of these keys: all or nothing. Raises DiskFails."""
        try:
            with self._judged():
                database = self._opened()
                with database:
                    database.execute("BEGIN IMMEDIATE")
                    database.executemany("DELETE FROM lease WHERE network = ? AND node = ?", gone)
                    database.executemany("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?)", kept)
        except DeviceError as error:
            raise DiskFails(str(error)) from error
        except DiskFails:
            self.close()  # reopened next time: a connection that failed once may keep failing
            raise

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            with self._judged():
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
                database = sqlite3.connect(self._path, isolation_level=None, timeout=LOCK_PATIENCE)
                try:
                    found = self._version(database)
                    database.execute("PRAGMA journal_mode = WAL")
                    database.execute("PRAGMA synchronous = NORMAL")
                    if found == 0:
                        database.executescript(
                            f"BEGIN IMMEDIATE; {LEASE_TABLE} PRAGMA user_version = {_FORMAT}; COMMIT;"
                        )
                    for (index,) in database.execute(_INDEXES).fetchall():
                        database.execute(f"DROP INDEX {index}")
                except BaseException:
                    database.close()
                    raise
            self._database = database
        return self._database

    def _read_only(self) -> list[Row]:
        """Including the write-ahead log, if that can be read without writing; else without it."""
        for mode in ("mode=ro", "mode=ro&immutable=1"):
            with suppress(DiskFails), self._judged():
                where = f"{self._path.absolute().as_uri()}?{mode}"
                with closing(sqlite3.connect(where, uri=True, isolation_level=None, timeout=LOCK_PATIENCE)) as database:
                    return self._rows(database) if self._version(database) else []
        return []

    def _rows(self, database: sqlite3.Connection) -> list[Row]:
        with self._judged():
            return database.execute("SELECT network, node, address, since, seen FROM lease").fetchall()

    def _version(self, database: sqlite3.Connection) -> int:
        (found,) = database.execute("PRAGMA user_version").fetchone()
        if found not in (0, _FORMAT):
            raise DeviceError(f"{self._path} was written by another version (format {found}): move it away")
        return int(found)

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Raise DiskFails for what may pass, DeviceError for what the operator has to look at."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING_CODES:
                raise DiskFails(str(error)) from error
            raise self._unusable(error) from error
        except OSError as error:
            if error.errno in _PASSING_ERRNOS:
                raise DiskFails(error.strerror or str(error)) from error
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> DeviceError:
        return DeviceError(f"the registry {self._path} cannot be used ({error}): check the disk, or move the file away")
