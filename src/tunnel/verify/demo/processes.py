"""The processes of a demo: started, told what to do, and ended whatever happens. Each is held by its handle.

Each also ends when its stdin does: when the demo is killed, the kernel closes its end of that pipe.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from tunnel.cli.demo_view import DemoConsole
from tunnel.model.errors import TunnelError
from tunnel.model.safe_text import presentable
from tunnel.node.control_lines import Lines, decode_line, encode_line, error_of
from tunnel.verify.demo.peer_progress import PeerView

READY_PATIENCE = 20.0
_PYTHON = (sys.executable, "-P", "-m")  # -P: what lies in the current folder is not ours
_MAX_LINE = 64 * 1024
_LEAVE_PATIENCE = 3.0
_LAST_LINES = 5


class DemoFailed(TunnelError):
    """The demo could not go on, or what it showed was not what it promises."""


@asynccontextmanager
async def open_program(
    name: str, module: str, *argv: str, log: Path, leave_patience: float = 0.0
) -> AsyncIterator[trio.Process]:
    """A Python module as a process with pipes, its stderr in `log`. Raises DemoFailed when it ends before the block.

    At the end its stdin is closed, it has `leave_patience` seconds to leave, then comes SIGTERM. It has a process group
    of its own: a Ctrl-C in the terminal reaches the demo alone, which then ends all in order.
    """
    with log.open("wb") as complaints:
        process = await trio.lowlevel.open_process(
            [*_PYTHON, module, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            process_group=0,
        )
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, process, name, log)
            yield process
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await _end(process, patience=leave_patience)


@asynccontextmanager
async def open_server(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """A real server on loopback ports that the system picks: its URL and its pin."""
    loopback = "127.0.0.1:0"
    argv = ["--listen", loopback, "--udp", loopback, "--udp", loopback, "--http", loopback]
    log = folder / "server.log"
    argv += ["--state", str(folder / "server")]
    async with open_program("server", "tunnel.cli.demo_server", *argv, log=log) as process:
        assert process.stdout is not None
        words: list[str] = []
        with trio.move_on_after(READY_PATIENCE):
            line = await Lines(process.stdout, _MAX_LINE).receive_untrusted()
            if line is None:
                await trio.sleep_forever()  # it ended; the one who watches the process tells why
            words = line.decode().split()
        if len(words) != 3 or words[0] != "ready":
            raise DemoFailed(f"the server did not get ready within {READY_PATIENCE:g} s{last_words(log)}")
        yield words[1], words[2]


@asynccontextmanager
async def open_demo_node(name: str, invite: str, folder: Path, console: DemoConsole) -> AsyncIterator[NodeHandle]:
    """A node process of the demo; its news go to the stage."""
    async with open_program(
        name, "tunnel.verify.demo.node", log=folder / f"{name}.log", leave_patience=_LEAVE_PATIENCE
    ) as process:
        handle = NodeHandle(name, process, console)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handle.run)
            await handle.write({"name": name, "invite": invite})
            yield handle
            nursery.cancel_scope.cancel()


class NodeHandle:
    """Our end of a demo node. `ask` gives one order at a time; `view` is what its news last said."""

    def __init__(self, name: str, process: trio.Process, console: DemoConsole) -> None:
        self.name = name
        self.view = PeerView(name, console)
        self._process = process
        self._console = console
        self._put_answer, self._answers = trio.open_memory_channel[dict[str, Any]](1)

    async def run(self) -> None:
        """Read what the node reports, until its process ends."""
        assert self._process.stdout is not None
        lines = Lines(self._process.stdout, _MAX_LINE)
        while (line := await lines.receive_untrusted()) is not None:
            report = decode_line(line)
            if "ok" in report:
                self._put_answer.send_nowait(report)
            else:
                self._take(report)
        await trio.sleep_forever()  # the one who watches the process tells why

    async def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """Give one order and wait for its answer. Raises what the node answered with."""
        await self.write({"do": do, **details})
        answer = await self._answers.receive()
        if not answer["ok"]:
            raise error_of(answer["code"], answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    async def write(self, document: dict[str, Any]) -> None:
        """One line to the node."""
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send_all(encode_line(document))
        except trio.BrokenResourceError:
            await trio.sleep_forever()  # it ended; the one who watches the process tells why

    def _take(self, report: dict[str, Any]) -> None:
        match report:
            case {"news": "move", "peer": peer, "from": source, "event": event, "to": target, "at": at}:
                self.view.note_move(peer, source, event, target, at)
            case {"news": "path", "peer": peer, "kind": kind, "at": at}:
                self.view.note_path(peer, kind, at)
            case {"news": "heard", "text": text, "at": at}:
                self._console.say(self.name, f"heard {text!r}", at)


async def _watch(process: trio.Process, name: str, log: Path) -> None:
    code = await process.wait()
    how = f"with code {code}" if code >= 0 else f"by signal {-code}"
    raise DemoFailed(f"the process of {name} ended early, {how}{last_words(log)}")


async def _end(process: trio.Process, *, patience: float) -> None:
    """Hang up and wait, ask, insist. Its stdout stays open, so that it can say its last."""
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.aclose()
    for insist in (process.terminate, process.kill):
        with trio.move_on_after(patience):
            await process.wait()
        if process.returncode is None:
            insist()
        patience = _LEAVE_PATIENCE
    await process.wait()
    await process.stdout.aclose()


def last_words(log: Path) -> str:
    """The end of a program's log, to follow an error's text."""
    with suppress(OSError):
        lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        if lines:
            return ":\n" + presentable("\n".join(lines))
    return ""
