"""tools/system-packages starts nothing. Debian's commands are stand-ins here, which record what they are asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "system-packages"

RECORDER = '#!/bin/sh\necho "${0##*/} $*" >> "$RECORD"\ncase " $* " in *" $FAILS "*) exit 1;; esac\n'
STAND_INS = {
    "apt-get": RECORDER,
    "systemctl": RECORDER,
    "dpkg-query": '#!/bin/sh\nfor last; do :; done\n[ "$last" != present ] || printf installed\n',
    "id": "#!/bin/sh\necho 0\n",
}


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """A Debian where only the package `present` is installed."""
    for name, script in STAND_INS.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "record").touch()
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RECORD": str(tmp_path / "record"), "FAILS": "nothing"}


def run(surroundings: dict[str, str], *packages: str) -> tuple[int, list[str]]:
    """Its exit code, and the commands it gave, without apt-get's options."""
    done = subprocess.run([TOOL, *packages], env=surroundings, capture_output=True, check=False)
    commands = [line.split() for line in Path(surroundings["RECORD"]).read_text().splitlines()]
    return done.returncode, [" ".join(word for word in line if word[0] != "-" and "=" not in word) for line in commands]


def test_what_is_installed_is_left_alone(surroundings: dict[str, str]) -> None:
    assert run(surroundings, "present") == (0, [])


def test_a_program_is_installed_and_nothing_else_happens(surroundings: dict[str, str]) -> None:
    assert run(surroundings, "present", "iperf3") == (0, ["apt-get update", "apt-get install iperf3"])


@pytest.mark.parametrize(("fails", "code"), [("nothing", 0), ("install", 1), ("disable", 0)])
def test_a_service_is_masked_while_it_is_installed_and_disabled_after(
    surroundings: dict[str, str], fails: str, code: int
) -> None:
    """Debian starts a service with its installation and at every boot, if nobody says otherwise before."""
    expected = [
        "systemctl mask coturn.service",
        "apt-get update",
        "apt-get install coturn iperf3",
        "systemctl unmask coturn.service",
        "systemctl disable coturn.service",
    ]
    assert run({**surroundings, "FAILS": fails}, "coturn", "iperf3") == (code, expected)


def test_without_systemd_a_service_is_installed_as_it_is(surroundings: dict[str, str], tmp_path: Path) -> None:
    """Nothing starts it there."""
    (tmp_path / "systemctl").unlink()
    for name in ("bash", "mktemp", "rm", "cat"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    (tmp_path / "sh").symlink_to("/bin/sh")
    assert run({**surroundings, "PATH": str(tmp_path)}, "coturn") == (0, ["apt-get update", "apt-get install coturn"])
