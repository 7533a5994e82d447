"""The demo: its parts, every way in which it can end, and the whole of it with real processes."""

from __future__ import annotations

import io
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.console import Console

from tunnel.cli import demo
from tunnel.cli.demo_view import DemoConsole
from tunnel.cli.invite import make_invite
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import SettingsError
from tunnel.verify.demo.findings import LONGEST_HOLE, Arrivals, Findings, duration, round_trips, throughput
from tunnel.verify.demo.peer_progress import PeerView, wait_direct, wait_given_up
from tunnel.verify.demo.processes import DemoFailed, open_demo_node, open_program, open_server
from tunnel.verify.demo.switch import SwitchedDatagrams
from tunnel.wire.invites import encode_invite
from tunnel.wire.stun import binding_request, encode_stun

PEER = Endpoint("127.0.0.1", 7)
STUN = encode_stun(binding_request(bytes(12)))
DATA = b"\x02" + bytes(40)
COMMAND = [sys.executable, "-m", "tunnel", "demo"]
PATIENCE = 58.0


def plain_console() -> tuple[DemoConsole, io.StringIO]:
    text = io.StringIO()
    return DemoConsole(Console(file=text, width=200, _environ={})), text


def plain_environment(folder: Path) -> dict[str, str]:
    """Ours, with temporary files in a folder that can be looked at, and no wish for colours."""
    kept = {key: value for key, value in os.environ.items() if key not in ("FORCE_COLOR", "TTY_COMPATIBLE")}
    return {**kept, "TMPDIR": str(folder)}


# The switch.


class ScriptedSocket:
    """Keeps what is sent; receives what the script says."""

    local = Endpoint("127.0.0.1", 4242)

    def __init__(self, *batches: list[tuple[bytes, Endpoint]]) -> None:
        self.sent: list[bytes] = []
        self.batches = list(batches)
        self.is_closed = False

    def send_nowait(self, datagram: bytes, remote: Endpoint, ttl: int | None = None) -> bool:
        self.sent.append(datagram)
        return True

    async def receive_batch(self) -> list[tuple[bytes, Endpoint]]:
        await trio.lowlevel.checkpoint()
        return self.batches.pop(0)

    def close(self) -> None:
        self.is_closed = True


class ScriptedDatagrams:
    def __init__(self, socket: ScriptedSocket) -> None:
        self.socket = socket

    async def open_socket(self, local: Endpoint) -> ScriptedSocket:
        await trio.lowlevel.checkpoint()
        return self.socket


async def test_a_cut_swallows_what_goes_to_peers_and_comes_from_them_but_never_stun() -> None:
    real = ScriptedSocket([(DATA, PEER)], [(DATA, PEER), (STUN, PEER)], [(DATA, PEER)])
    switch = SwitchedDatagrams(ScriptedDatagrams(real))
    socket = await switch.open_socket(Endpoint("127.0.0.1", 0))
    assert socket.local == real.local

    switch.cut()
    assert socket.send_nowait(DATA, PEER), "who sends into a cut is told nothing"
    assert socket.send_nowait(STUN, PEER)
    assert await socket.receive_batch() == [(STUN, PEER)], "a batch that was swallowed whole is no batch"
    assert (real.sent, switch.swallowed) == ([STUN], 3)

    switch.lift()
    assert socket.send_nowait(DATA, PEER, 3)
    assert await socket.receive_batch() == [(DATA, PEER)]
    assert (real.sent, switch.swallowed) == ([STUN, DATA], 3)
    socket.close()
    assert real.is_closed


# What was found.


def test_the_longest_gap_counts_from_where_it_began_and_while_it_is_open() -> None:
    arrivals = Arrivals()
    assert arrivals.longest(5.0) == 0.0, "nothing has come yet: there is no gap in it"
    for moment in (10.0, 10.5, 12.0, 12.1):
        arrivals.note(moment)
    assert arrivals.longest(12.2) == 1.5
    assert arrivals.longest(20.0) == pytest.approx(7.9)
    arrivals.begin(20.0)
    assert arrivals.longest(20.0) == 0.0
    arrivals.note(20.25)
    assert (arrivals.longest(20.3), arrivals.count) == (0.25, 5)


def test_an_expectation_holds_up_to_its_limit_and_never_when_it_never_came() -> None:
    findings = Findings()
    findings.note("throughput", "1 Mbit/s")
    assert findings.expect_within("hole", LONGEST_HOLE, LONGEST_HOLE)
    assert not findings.expect_within("hole", LONGEST_HOLE + 0.01, LONGEST_HOLE)
    assert not findings.expect_within("direct", None, 15.0)
    assert [line.measured for line in findings.failures] == ["2.51 s", "never"]


async def test_what_is_expected_soon_is_waited_for_no_longer(autojump_clock: trio.testing.MockClock) -> None:
    findings = Findings()

    async def come() -> float:
        await trio.sleep(2)
        return 1002.0

    assert await findings.expect_soon("it", come, 1000.0, 3.0)
    assert not await findings.expect_soon("it", come, 1000.0, 1.0)
    assert [line.measured for line in findings.lines] == ["2.00 s", "never"]
    assert trio.current_time() == pytest.approx(3.0)


def test_measures_are_told_as_people_say_them() -> None:
    assert [duration(0.0456), duration(1.234)] == ["46 ms", "1.23 s"]
    assert round_trips([0.003, 0.001, 0.0024]) == "2.4 ms (from 1.0 to 3.0)"
    assert round_trips([]) == "none answered"
    assert throughput(1_250_000, 2.0) == "5.0 Mbit/s"


# What is shown.


def test_without_a_terminal_every_line_is_plain_and_nothing_is_redrawn() -> None:
    console, text = plain_console()
    now = time.time()
    with console.waiting("the direct path"):
        console.move("desk", "lap\x1b[2Jtop", "punching", "path_verified", "connected", now + 1.5)
        console.path("desk", "laptop", "direct", now)
        console.path("desk", "laptop", None, now)
    findings = Findings()
    findings.expect_within("hole", 9.0, 2.5)
    console.summary(findings.lines)
    told = text.getvalue()
    assert "the direct path ..." in told
    assert "1.50 s  desk    chart of lap\\x1b[2Jtop: punching -> connected  (path_verified)\n" in told
    assert "goes over direct" in told
    assert "goes nowhere" in told
    assert told.splitlines()[-1].split() == ["hole", "9.00", "s", "at", "most", "2.5", "s", "FAILED"]
    assert "\x1b" not in told


def test_a_terminal_gets_colours() -> None:
    text = io.StringIO()
    console = DemoConsole(Console(file=text, width=80, force_terminal=True, _environ={"TERM": "xterm-256color"}))
    with console.waiting("the direct path"):
        console.move("desk", "laptop", "punching", "path_verified", "connected", time.time())
    assert "\x1b[32mconnected" in text.getvalue()


def test_a_terminal_that_can_do_little_gets_lines_and_ascii() -> None:
    text = io.StringIO()
    console = DemoConsole(Console(file=text, width=80, force_terminal=True, _environ={"TERM": "dumb"}))
    with console.waiting("the direct path"):
        pass
    assert text.getvalue().endswith("the direct path ...\n")
    old = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with DemoConsole(Console(file=old, width=80, force_terminal=True, _environ={"TERM": "xterm"})).waiting(
        "the direct path"
    ):
        pass
    old.flush()
    assert b"the direct path" in old.buffer.getvalue()


async def test_a_view_tells_of_each_change_once_and_wakes_who_waits(autojump_clock: trio.testing.MockClock) -> None:
    console, text = plain_console()
    views = [PeerView(name, console) for name in ("desk", "laptop")]

    async def happen() -> None:
        for at, view in enumerate(views):
            view.note_move("it", "punching", "path_verified", "connected", 100.0 + at)
            await trio.sleep(1)
            view.note_path("it", "direct", 100.0)
            view.note_path("it", "direct", 101.0)
        await trio.sleep(1)
        for at, view in enumerate(views):
            view.is_muted = True
            view.note_move("it", "connected", "path_lost", "punching", 110.0 + at)
            view.note_move("it", "punching", "introduced", "punching", 120.0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(happen)
        assert await wait_direct(*views) == 101.0
        assert trio.current_time() == pytest.approx(2.0)
        assert await wait_given_up(*views) == 111.0
    assert text.getvalue().count("goes over direct") == 2
    assert "path_lost" not in text.getvalue()


# How it ends.


async def good_story(console: DemoConsole, findings: Findings) -> None:
    findings.expect_within("hole", 1.0, 2.5)


async def bad_story(console: DemoConsole, findings: Findings) -> None:
    findings.expect_within("hole", 9.0, 2.5)


async def endless_story(console: DemoConsole, findings: Findings) -> None:
    findings.note("round trip", "1 ms")
    await trio.sleep_forever()


async def interrupted_story(console: DemoConsole, findings: Findings) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    await trio.sleep_forever()


async def test_a_story_whose_promises_hold_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert await demo.show(good_story) == 0
    assert "All as promised" in capsys.readouterr().out


async def test_a_broken_promise_is_1_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert await demo.show(bad_story) == 1
    assert "hole: 9.00 s, expected at most 2.5 s" in capsys.readouterr().out.splitlines()[-1]


async def test_a_demo_that_hangs_ends_within_a_minute_and_shows_what_it_has(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.RaisesGroup(DemoFailed, flatten_subgroups=True):
        await demo.show(endless_story)
    assert trio.current_time() < 60
    assert "round trip" in capsys.readouterr().out


async def test_an_interrupted_story_is_130_without_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert await demo.show(interrupted_story) == 130
    assert "Summary" not in capsys.readouterr().out


def test_without_root_netns_names_the_remedy(monkeypatch: pytest.MonkeyPatch, command: Any) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    ended = command("demo", "--netns")
    assert (ended.code, ended.out) == (1, "")
    assert "run it as root; or run `demo` without --netns" in ended.err


# Its processes.


async def test_a_program_that_ends_early_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(DemoFailed, match=r"process of node ended early, with code 1:\n.*no_such"),
        flatten_subgroups=True,
    ):
        async with open_program("node", "tunnel.no_such_module", log=tmp_path / "log"):
            await trio.sleep(PATIENCE)


async def test_a_program_that_is_killed_is_told_too(tmp_path: Path) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(DemoFailed, match="by signal 9"), flatten_subgroups=True):
        async with open_program("idler", "http.server", "0", "--bind", "127.0.0.1", log=tmp_path / "log") as idler:
            idler.kill()
            await trio.sleep(PATIENCE)


async def test_a_program_that_does_not_mind_its_stdin_is_terminated(tmp_path: Path) -> None:
    async with open_program("idler", "http.server", "0", "--bind", "127.0.0.1", log=tmp_path / "log") as idler:
        pass
    assert idler.returncode == -signal.SIGTERM


async def test_a_node_process_says_no_to_what_it_does_not_know_and_lives_on(tmp_path: Path) -> None:
    console, _ = plain_console()
    with trio.fail_after(PATIENCE):
        async with open_server(tmp_path) as (url, pin):
            invite = encode_invite(make_invite(url, pin, "test"))
            async with open_demo_node("desk", invite, tmp_path, console) as desk:
                with pytest.raises(SettingsError, match="meet, greet"):
                    await desk.ask("dance")
                with pytest.raises(SettingsError, match="meet the peer first"):
                    await desk.ask("ping", count=1)
                assert (await desk.ask("cut"))["at"] <= time.time()


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


def test_an_interrupted_demo_ends_its_processes_and_takes_its_files_away(tmp_path: Path) -> None:
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
