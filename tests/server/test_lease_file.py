"""The file of leases: written whole or not at all, read in whatever state its disk is, and nothing else's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tunnel.model.errors import DeviceError
from tunnel.server.lease_file import LEASE_TABLE, DiskFails, LeaseFile, Row


def row(number: int, address: int | None = None) -> Row:
    return bytes(16), number.to_bytes(16, "big"), number if address is None else address, 1.0, 2.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "registry.sqlite"


@pytest.fixture
def file(path: Path) -> Iterator[LeaseFile]:
    with closing(LeaseFile(path)) as file:
        yield file


def test_rows_are_kept_and_deleted(file: LeaseFile, path: Path) -> None:
    assert file.read() == []
    file.write([row(1), row(2), row(3)], [])
    file.write([row(2, 9)], [row(1)[:2], row(2)[:2]])
    with closing(LeaseFile(path)) as again:
        assert again.read() == [row(2, 9), row(3)]
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_that_change_places_are_written(file: LeaseFile) -> None:
    """Each address is one node's: what comes first may not trip over what comes after."""
    file.write([row(1, 10), row(2, 20)], [])
    file.write([row(1, 20), row(2, 10)], [row(1)[:2], row(2)[:2]])
    assert file.read() == [row(1, 20), row(2, 10)]


def test_what_fails_is_written_not_even_in_part(file: LeaseFile, path: Path) -> None:
    file.write([row(1)], [])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DiskFails, match="locked"):
            file.write([row(2)], [row(1)[:2]])
        other.execute("ROLLBACK")
    assert file.read() == [row(1)]
    file.write([row(2)], [row(1)[:2]])
    assert file.read() == [row(2)]


def test_a_file_of_an_earlier_server_is_read_and_its_indexes_are_dropped(file: LeaseFile, path: Path) -> None:
    """They made each write dearer, and are asked no more."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(f"{LEASE_TABLE} PRAGMA user_version = 1;")
        database.execute("CREATE INDEX lease_by_seen ON lease (seen)")
        database.execute("INSERT INTO lease VALUES (?, ?, ?, ?, ?)", row(1))
    assert file.read() == [row(1)]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql > ''").fetchall() == []


def test_what_is_no_database_is_left_alone(file: LeaseFile, path: Path) -> None:
    content = b"not a database, though long enough to be looked at" * 100
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DeviceError, match="move the file away"):
        file.read()
    with pytest.raises(DiskFails):
        file.write([row(1)], [])
    assert path.read_bytes() == content
