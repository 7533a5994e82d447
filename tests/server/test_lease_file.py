"""The file of leases: written whole or not at all, read in whatever state its disk is, and nothing else's."""

from __future__ import annotations

import ctypes
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import outcome
import pytest

from tunnel.model.errors import DeviceError
from tunnel.server.lease_file import LEASE_TABLE, DiskFails, LeaseFile, Row

CLONE_NEWNS = 0x20000


class Disk:
    """A file system of 256 KiB of one's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        with suppress(OSError), self._filler.open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(512))

    def forbid(self) -> None:
        self._mount("-o", "remount,ro")

    def free(self) -> None:
        self._mount("-o", "remount,rw")
        self._filler.unlink(missing_ok=True)

    def _mount(self, *options: str) -> None:
        subprocess.run(["mount", *options, str(self._folder)], check=True)


SmallDisk = Callable[[Path, Callable[[Disk], None]], None]


@pytest.fixture
def small_disk() -> SmallDisk:
    """Runs a function in a thread whose mounts are its own and vanish with it. Needs root."""

    def run(folder: Path, use: Callable[[Disk], None]) -> None:
        results: list[outcome.Outcome[None]] = []

        def mount_and_use() -> None:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
                raise OSError(ctypes.get_errno(), "unshare")
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)
            folder.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=True)
            use(Disk(folder))

        thread = threading.Thread(target=lambda: results.append(outcome.capture(mount_and_use)))
        thread.start()
        thread.join()
        results[0].unwrap()

    return run


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


@pytest.mark.netlab
def test_on_a_disk_that_fills_up_nothing_is_lost(path: Path, small_disk: SmallDisk) -> None:
    """What the kernel and SQLite say then is a dozen different errors."""

    def use(disk: Disk) -> None:
        with closing(LeaseFile(path)) as file:
            file.write([row(1)], [])
            disk.fill()
            with pytest.raises(DiskFails):
                file.write([row(number) for number in range(2, 2000)], [])
        read_then_written_when_there_is_room(path, disk)

    small_disk(path.parent, use)


@pytest.mark.netlab
def test_a_disk_that_is_read_only_can_be_read(path: Path, small_disk: SmallDisk) -> None:
    def use(disk: Disk) -> None:
        with closing(LeaseFile(path)) as file:
            file.write([row(1)], [])
        disk.forbid()
        read_then_written_when_there_is_room(path, disk)

    small_disk(path.parent, use)


def read_then_written_when_there_is_room(path: Path, disk: Disk) -> None:
    with closing(LeaseFile(path)) as file:
        assert file.read() == [row(1)]
        with pytest.raises(DiskFails):
            file.write([row(number) for number in range(2, 2000)], [])
        disk.free()
        file.write([row(2)], [])
        assert file.read() == [row(1), row(2)]
