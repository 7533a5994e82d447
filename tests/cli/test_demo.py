"""The demo as a command: every way in which it can end, and the whole of it with real processes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tunnel.cli import demo
from tunnel.verify.demo.console import DemoConsole
from tunnel.verify.demo.findings import Findings
from tunnel.verify.demo.processes import DemoFailed

COMMAND = [sys.executable, "-m", "tunnel", "demo"]
PATIENCE = 58.0


def plain_environment(folder: Path) -> dict[str, str]:
    """Ours, with temporary files in a folder that can be looked at, and no wish for colors."""
    kept = {key: value for key, value in os.environ.items() if key not in ("FORCE_COLOR", "TTY_COMPATIBLE")}
    return {**kept, "TMPDIR": str(folder)}


async def good_demo(console: DemoConsole, findings: Findings) -> None:
    findings.expect_within("hole", 1.0, 2.5)


async def bad_demo(console: DemoConsole, findings: Findings) -> None:
    findings.expect_within("hole", 9.0, 2.5)


async def endless_demo(console: DemoConsole, findings: Findings) -> None:
    findings.note("round trip", "1 ms")
    await trio.sleep_forever()


async def interrupted_demo(console: DemoConsole, findings: Findings) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    await trio.sleep_forever()


async def test_a_demo_whose_promises_hold_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert await demo.run_demo(good_demo) == 0
    assert "All as promised" in capsys.readouterr().out


async def test_a_broken_promise_is_1_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert await demo.run_demo(bad_demo) == 1
    assert "hole: 9.00 s, expected at most 2.5 s" in capsys.readouterr().out.splitlines()[-1]


async def test_a_demo_that_hangs_ends_within_a_minute_and_shows_what_it_has(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.RaisesGroup(DemoFailed, flatten_subgroups=True):
        await demo.run_demo(endless_demo)
    assert trio.current_time() < 60
    assert "round trip" in capsys.readouterr().out


async def test_an_interrupted_demo_is_130_without_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert await demo.run_demo(interrupted_demo) == 130
    assert "Summary" not in capsys.readouterr().out


def test_without_root_netns_names_the_remedy(monkeypatch: pytest.MonkeyPatch, command: Any) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    ended = command("demo", "--netns")
    assert (ended.code, ended.out) == (1, "")
    assert "run it as root; or run `demo` without --netns" in ended.err


def test_the_whole_demo_keeps_its_promises_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ended = subprocess.run(
        COMMAND,
        env=plain_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE + 10,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    for words in ("(path_verified)", "CUT", "over relay-websocket", "(path_lost)", "LIFTED", "All as promised"):
        assert words in ended.stdout
    assert "\x1b" not in ended.stdout
    assert list(tmp_path.iterdir()) == []


@contextmanager
def running_demo(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A demo in whose midst we are, and its children."""
    environment = plain_environment(folder)
    with subprocess.Popen(
        COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "registered as" in line)
        tasks = Path(f"/proc/{process.pid}/task").glob("*/children")  # the thread that started it counts as its parent
        children = [int(child) for task in tasks for child in task.read_text().split()]
        assert len(children) == 3
        yield process, children


def test_an_interrupted_demo_ends_its_processes_and_removes_its_files(tmp_path: Path) -> None:
    with running_demo(tmp_path) as (process, children):
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE)[1] == ""
    assert process.returncode == 130
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert list(tmp_path.iterdir()) == []


def test_the_processes_of_a_killed_demo_end_with_it(tmp_path: Path) -> None:
    """Nobody is left to end them: a second Ctrl-C, a closed terminal, or the kernel short of memory."""
    with running_demo(tmp_path) as (process, children):
        handles = [os.pidfd_open(child) for child in children]
        process.kill()
        for handle in handles:
            assert select.select([handle], [], [], PATIENCE)[0] == [handle]
            os.close(handle)
