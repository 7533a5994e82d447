"""A state folder has one process, and the second one is told of the first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunnel.cli.state_lock import NODE, SERVER, holding, is_held
from tunnel.model.errors import DeviceError


def hold(folder: Path, name: str = NODE) -> None:
    with holding(folder, name, who="a node", remedy="end it"):
        raise ZeroDivisionError  # the block was entered


def test_a_second_process_learns_of_the_first(tmp_path: Path) -> None:
    with holding(tmp_path, NODE, who="a node", remedy="end it"):
        assert is_held(tmp_path, NODE)
        with pytest.raises(DeviceError) as caught:
            hold(tmp_path)
        assert str(caught.value) == (
            f"a node runs on the state folder {tmp_path} already (process {os.getpid()}): end it"
        )
    assert not is_held(tmp_path, NODE)
    with pytest.raises(ZeroDivisionError):
        hold(tmp_path)


def test_a_server_and_a_node_may_share_a_folder(tmp_path: Path) -> None:
    with holding(tmp_path, SERVER, who="a server", remedy="stop it"), pytest.raises(ZeroDivisionError):
        hold(tmp_path)


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from tunnel.cli.state_lock import holding\n"
        "with holding(Path(sys.argv[1]), 'node.lock', who='', remedy=''): os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert (tmp_path / NODE).exists()
    assert not is_held(tmp_path, NODE)
    with pytest.raises(ZeroDivisionError):
        hold(tmp_path)


def test_a_folder_that_cannot_be_written_keeps_no_program_from_running(tmp_path: Path) -> None:
    """A disk that is full or read-only: a node comes back with what it has."""
    with pytest.raises(ZeroDivisionError):
        hold(tmp_path / "none")
    assert not is_held(tmp_path / "none", NODE)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    (tmp_path / NODE).symlink_to(tmp_path / "precious")
    with pytest.raises(ZeroDivisionError):
        hold(tmp_path)
    assert (tmp_path / "precious").read_text() == "data"
