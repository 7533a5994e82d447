"""Clocks, randomness and private files."""

from __future__ import annotations

import os
import resource
import stat
import time
from pathlib import Path

import pytest
import trio

from tunnel.model.errors import DeviceError
from tunnel.network.os.machine import RealClock, RealEntropy, RealStore, raise_descriptor_limit
from tunnel.network.os.world import real_world


def test_the_clocks_are_the_machines() -> None:
    assert abs(RealClock().wall() - time.time()) < 5


async def test_a_machine_that_is_awake_is_not_told_that_it_slept(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(60) as awake:
        await RealClock().wait_slept()
    assert awake.cancelled_caught


async def test_a_machine_whose_clocks_run_as_usual_is_no_copy(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(60) as alone:
        await RealClock().wait_copied()
    assert alone.cancelled_caught


def test_tokens_have_their_length_and_differ() -> None:
    entropy = RealEntropy()
    assert len(entropy.token(32)) == 32
    assert entropy.token(32) != entropy.token(32)
    assert 0 <= entropy.chance.random() < 1


def test_a_file_is_kept_privately_in_a_private_folder(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    store = RealStore(folder)
    assert store.read("key") is None
    store.write("key", b"secret")
    store.write("key", b"newer")
    assert store.read("key") == b"newer"
    assert [path.name for path in folder.iterdir()] == ["key"]
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_is_removed_and_one_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    store = RealStore(tmp_path)
    store.write("key", b"secret")
    store.remove("key")
    store.remove("key")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "folder").mkdir()
    with pytest.raises(DeviceError, match="folder cannot be removed"):
        store.remove("folder")


def test_a_file_left_behind_by_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f".key.{os.getpid()}").write_bytes(b"half")
    RealStore(tmp_path).write("key", b"whole")
    assert RealStore(tmp_path).read("key") == b"whole"


def test_a_store_that_cannot_be_used_says_which_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = RealStore(tmp_path / "file")
    with pytest.raises(DeviceError, match="key cannot be read"):
        store.read("key")
    with pytest.raises(DeviceError, match="key cannot be written"):
        store.write("key", b"x")


def test_without_a_folder_nothing_outlives_the_process() -> None:
    world = real_world(None)
    world.store.write("key", b"x")
    assert world.store.read("key") == b"x"
    assert real_world(None).store.read("key") is None


def test_the_limit_of_open_files_is_raised_to_what_the_system_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        raised = raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
        assert raised >= before[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
