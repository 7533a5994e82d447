"""Commands write into pipes and terminals of all kinds, and no error of theirs becomes a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_a_reader_who_leaves_early_is_no_error_worth_a_traceback(tmp_path: Path) -> None:
    code = "import sys; from tunnel.cli.command_line import run; sys.exit(run(['chart', 'peer_connection']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1
    assert said == b""


def test_a_terminal_without_utf8_gets_names_spelled_out(tmp_path: Path) -> None:
    """A peer calls itself what it likes, and an error repeats it."""
    code = (
        "import sys; from tunnel.cli import chart, command_line\n"
        "chart.mermaid = lambda chart: 'caf\\xe9 \\u4eac \\udcff'\n"
        "sys.exit(command_line.run(['chart', 'peer_connection']) + command_line.run(['no\\u4eac']))\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=tmp_path, check=False, text=True, env=environment
    )
    assert ended.stdout == "caf\\xe9 \\u4eac \\udcff\n"
    assert "'no\\u4eac'" in ended.stderr
    assert ended.returncode == 2


def test_a_pipe_that_somebody_made_non_blocking_gets_everything(tmp_path: Path) -> None:
    """Python drops what a full one does not take, without an error."""
    code = (
        "import os, sys; from tunnel.cli import chart, command_line\n"
        "chart.mermaid = lambda chart: 'x' * 1000000\n"
        "os.set_blocking(1, False)\n"
        "sys.exit(command_line.run(['chart', 'peer_connection']))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path, check=False, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ended.stdout) == 1_000_001
