"""A state folder that other users may write to is not used; files that they may read are warned of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunnel.model.errors import DeviceError
from tunnel.network.os import file_trust
from tunnel.network.os.machine import RealStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    RealStore(folder).write("node.key", b"secret")
    return folder


def test_what_is_ours_alone_is_read_without_a_word(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert RealStore(folder).read("node.key") == b"secret"
    assert caplog.records == []


@pytest.mark.parametrize("act", [lambda store: store.read("node.key"), lambda store: store.write("node.key", b"new")])
def test_a_folder_that_everybody_may_write_to_is_refused_with_the_remedy(folder: Path, act: object) -> None:
    """Another user would put a key of his there, or an invite to his network."""
    folder.chmod(0o777)
    assert callable(act)
    with pytest.raises(DeviceError, match=f"chmod go-w {folder}"):
        act(RealStore(folder))
    assert (folder / "node.key").read_bytes() == b"secret"


@pytest.mark.parametrize("is_linked", [False, True])
@pytest.mark.parametrize("is_new", [False, True])
def test_a_folder_that_everybody_may_replace_is_refused_with_the_remedy(
    tmp_path: Path, is_linked: bool, is_new: bool
) -> None:
    """Whoever may write to a folder above it may rename it, and put one of his own there."""
    shared = tmp_path / "shared"
    (shared / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(shared / "deep")
    if not is_new:
        RealStore(shared / "deep" / "state").write("node.key", b"secret")
    shared.chmod(0o777)
    folder = (tmp_path / "link" if is_linked else shared / "deep") / "state"
    with pytest.raises(DeviceError, match=f"chmod o-w {shared}"):
        RealStore(folder).write("node.key", b"new")
    assert folder.exists() is not is_new
    shared.chmod(0o1777)
    RealStore(folder).write("node.key", b"new")
    assert RealStore(folder).read("node.key") == b"new"


def test_a_file_that_everybody_may_write_to_is_refused_with_the_remedy(folder: Path) -> None:
    (folder / "node.key").chmod(0o666)
    with pytest.raises(DeviceError, match=f"chmod 600 {folder}/node.key"):
        RealStore(folder).read("node.key")


def test_a_folder_that_a_group_may_write_to_is_told_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`mkdir` makes it so where every user has a group of his own."""
    folder.chmod(0o770)
    store = RealStore(folder)
    for _ in range(3):
        assert store.read("node.key") == b"secret"
    (line,) = caplog.messages
    assert f"chmod go-w {folder}" in line


def test_a_file_that_others_may_read_is_told_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A copy of a folder often is."""
    (folder / "node.key").chmod(0o644)
    store = RealStore(folder)
    for _ in range(3):
        assert store.read("node.key") == b"secret"
    (line,) = caplog.messages
    assert f"chmod 600 {folder}/node.key" in line


def test_another_owner_of_folder_and_file_is_told(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sudo up --state` in one's own folder may be meant so."""
    owner = folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    monkeypatch.setattr(file_trust, "_ROOT", -1)
    RealStore(folder).read("node.key")
    assert [line.partition(" belongs to another user")[0] for line in caplog.messages] == [
        f"the state folder {folder}",
        f"{folder}/node.key",
    ]
