"""The processes of a demo: started by the command lines that are handed in, told what to do, and always ended.

Each also ends with its stdin: when the demo is killed, the kernel closes the other end of that pipe.
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from tunnel.model.errors import TunnelError
from tunnel.model.safe_text import presentable
from tunnel.node.control_lines import Lines, decode_line, encode_line, error_of
from tunnel.verify.demo.console import DemoConsole
from tunnel.verify.demo.peer_progress import PeerProgress

READY_PATIENCE = 20.0
_MAX_LINE = 64 * 1024
_LEAVE_PATIENCE = 3.0
_LAST_LINES = 5


class DemoFailed(TunnelError):
    """The demo could not go on."""


@dataclass(frozen=True, slots=True)
class Commands:
    """The command lines of the processes, which end with their stdin."""

    server: tuple[str, ...]
    """Takes the options of the command `server`, and prints its ready line."""
    node: tuple[str, ...]
    """Speaks the language of `verify/demo/node.py` on stdin and stdout."""


@asynccontextmanager
async def open_process(
    name: str, command: Sequence[str], *, log: Path, leave_patience: float = 0.0
) -> AsyncIterator[trio.Process]:
    """A process with pipes, its stderr in the file `log`. Raises DemoFailed when it ends before the block.

    At the end its stdin is closed, it has `leave_patience` seconds to leave, then comes SIGTERM. It has a process group
    of its own: a Ctrl-C in the terminal reaches the demo alone, which then ends all processes in order.
    """
    with log.open("wb") as complaints:
        process = await trio.lowlevel.open_process(
            command,
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
async def open_server(command: Sequence[str], folder: Path) -> AsyncIterator[tuple[str, str]]:
    """A real server on loopback ports that the system picks: its URL and its pin. Raises DemoFailed."""
    loopback = "127.0.0.1:0"
    options = ["--listen", loopback, "--udp", loopback, "--udp", loopback, "--http", loopback]
    options += ["--state", str(folder / "server")]
    log = folder / "server.log"
    async with open_process("server", [*command, *options], log=log) as process:
        assert process.stdout is not None
        words: list[str] = []
        with trio.move_on_after(READY_PATIENCE):
            line = await Lines(process.stdout, _MAX_LINE).receive_untrusted()
            if line is None:
                await trio.sleep_forever()  # it ended: `_watch` says why
            words = line.decode().split()
        if len(words) != 3 or words[0] != "ready":
            raise DemoFailed(f"the server did not get ready within {READY_PATIENCE:g} s{last_words(log)}")
        yield words[1], words[2]


@asynccontextmanager
async def open_demo_node(
    command: Sequence[str], name: str, invite: str, folder: Path, console: DemoConsole
) -> AsyncIterator[NodeHandle]:
    """A node process of the demo; its news go to the console."""
    async with open_process(name, command, log=folder / f"{name}.log", leave_patience=_LEAVE_PATIENCE) as process:
        handle = NodeHandle(name, process, console)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handle.run)
            await handle.write({"name": name, "invite": invite})
            yield handle
            nursery.cancel_scope.cancel()


class NodeHandle:
    """Our end of a demo node. `ask` gives one order at a time; `progress` is what its news last said."""

    def __init__(self, name: str, process: trio.Process, console: DemoConsole) -> None:
        self.name = name
        self.progress = PeerProgress(name, console)
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
        await trio.sleep_forever()  # it ended: `_watch` says why

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
            await trio.sleep_forever()  # it ended: `_watch` says why

    def _take(self, report: dict[str, Any]) -> None:
        match report:
            case {"news": "move", "peer": peer, "from": source, "event": event, "to": target, "at": at}:
                self.progress.note_move(peer, source, event, target, at)
            case {"news": "path", "peer": peer, "kind": kind, "at": at}:
                self.progress.note_path(peer, kind, at)
            case {"news": "heard", "text": text, "at": at}:
                self._console.say(self.name, f"heard {text!r}", at)


async def _watch(process: trio.Process, name: str, log: Path) -> None:
    code = await process.wait()
    how = f"with code {code}" if code >= 0 else f"by signal {-code}"
    raise DemoFailed(f"the process of {name} ended early, {how}{last_words(log)}")


async def _end(process: trio.Process, *, patience: float) -> None:
    """Close its stdin and wait, then terminate, then kill it. Its stdout stays open, so that it can finish writing."""
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
