"""What a process of root's has left, and where it may still write: each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.netlab

CODE = """
import logging, sys
from pathlib import Path
from tunnel.model.interface_kind import InterfaceKind
from tunnel.network.os.privileges import RealPrivileges
logging.basicConfig(format="%(message)s", stream=sys.stdout)
keeps, *folders = sys.argv[1:]
RealPrivileges([Path(folder) for folder in folders], None).lay_down(InterfaceKind.KERNEL if keeps == "keeps" else None)
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")))
for folder in (*folders, str(Path(folders[0]).parent)):
    try:
        (Path(folder) / "new").write_bytes(b"x")
        print("written")
    except OSError as error:
        print(error.strerror)
"""
DAC_OVERRIDE, NET_ADMIN = 1 << 1, 1 << 12


def lay_down(keeps: str, *folders: Path) -> list[str]:
    argv = [sys.executable, "-c", CODE, keeps, *map(str, folders)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()


@pytest.mark.parametrize(("keeps", "kept"), [("keeps", NET_ADMIN), ("none", 0)])
def test_its_own_folders_are_written_and_nothing_beside_them(tmp_path: Path, keeps: str, kept: int) -> None:
    folders = [tmp_path / "state", tmp_path / "run"]
    for folder in folders:
        folder.mkdir(mode=0o700)
    assert lay_down(keeps, *folders) == [f"{kept:016x}", "written", "written", "Permission denied"]


def test_a_folder_of_another_user_is_still_written_and_what_that_takes_is_told(tmp_path: Path) -> None:
    """Else the next lease could not be kept, though all had worked until then."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    told, *shown = lay_down("keeps", folder)
    assert told.startswith(f"{folder} is not root's: this process keeps the right to use everybody's files")
    assert shown == [f"{DAC_OVERRIDE | NET_ADMIN:016x}", "written", "Permission denied"]


STARTING = """
import subprocess, sys
from tunnel.model.interface_kind import InterfaceKind
from tunnel.network.os.privileges import RealPrivileges
RealPrivileges([], None).lay_down(InterfaceKind(sys.argv[1]))
for program in (sys.executable, "/bin/sh"):
    try:
        print(subprocess.run([program, "-c", ""], close_fds=False).returncode)
    except OSError as error:
        print(error.strerror)
"""


@pytest.mark.parametrize(
    ("kind", "told"),
    [("kernel", ["Permission denied", "Permission denied"]), ("namespace", ["0", "Permission denied"])],
)
def test_only_a_node_with_a_namespace_may_start_a_program_and_only_that_of_its_helper(
    kind: str, told: list[str]
) -> None:
    argv = [sys.executable, "-c", STARTING, kind]
    assert subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines() == told
