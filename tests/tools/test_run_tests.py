"""tools/run-tests ends when it is told to. pytest is a stand-in here, which records what it is asked."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "run-tests"

PYTHON = """#!/bin/bash
[ "$1" != -c ] || exit "$WITHOUT_UPNP"
echo "$2 $*" >> "$RECORD"
[ "$2" = pytest ] || exit 0
[ -n "$WAITS" ] || { echo "3 passed"; exit "$CODE"; }
trap 'echo cleaned up; exit 2' INT
echo started
read -r never < "$NEVER"
"""


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """A fake python, and an `id` that says that we are not root."""
    for name, script in (("python", PYTHON), ("id", "#!/bin/sh\necho 1000\n")):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    os.mkfifo(tmp_path / "never")
    return {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHON": str(tmp_path / "python"),
        "RECORD": str(tmp_path / "record"),
        "NEVER": str(tmp_path / "never"),
        "WAITS": "",
        "CODE": "0",
        "WITHOUT_UPNP": "0",
    }


def runs_of(surroundings: dict[str, str]) -> list[str]:
    return [line.split()[0] for line in Path(surroundings["RECORD"]).read_text().splitlines()]


def test_an_interruption_ends_it_after_pytest_has_cleaned_up(surroundings: dict[str, str]) -> None:
    """A Ctrl-C reaches all of the terminal's foreground: this script, pytest and tee.

    Whoever starts the tests in the background has them ignore it, and bash cannot heed what was ignored at its start.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [TOOL],
            env={**surroundings, "WAITS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == b"cleaned up\n"
        assert process.wait() == 130
    assert runs_of(surroundings) == ["coverage", "pytest"]


@pytest.mark.parametrize(("code", "ended"), [("0", 0), ("1", 1), ("2", 130), ("5", 0)])
def test_what_pytest_ends_with_decides(surroundings: dict[str, str], code: str, ended: int) -> None:
    """And not what tee ends with. 5 says that these paths hold no such test."""
    done = subprocess.run([TOOL], env={**surroundings, "CODE": code}, capture_output=True, text=True, check=False)
    assert done.returncode == ended, done.stderr


def test_without_miniupnpc_its_tests_are_left_out_and_that_is_said(surroundings: dict[str, str]) -> None:
    """Python 3.14 and newer have none where nobody built it."""
    environment = {**surroundings, "WITHOUT_UPNP": "1"}
    done = subprocess.run([TOOL], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "LEFT OUT: the tests that need miniupnpc" in done.stderr
    assert "-m not netlab and not upnp" in Path(surroundings["RECORD"]).read_text()
