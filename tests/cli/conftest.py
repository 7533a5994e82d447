"""A machine without a network, a node that says what it was told to say, and the command run to its end."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from tunnel.cli import launch
from tunnel.cli.command_line import run
from tunnel.model.errors import Unreachable
from tunnel.model.offload import Offload
from tunnel.network.ports import Sighting


class FakeNodeStream(trio.abc.Stream):
    """The node's end of a control connection: each request is answered from the script; after that, silence or end."""

    def __init__(self, answers: Mapping[str, list[Any]], requests: list[dict[str, Any]]) -> None:
        self._answers = {word: list(results) for word, results in answers.items()}
        self._requests = requests
        self._unread = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        request = json.loads(bytes(data))
        self._requests.append(request)
        results = self._answers[request["do"]]
        count = len(results) if request["do"] == "watch" else 1
        for answer in results[:count]:
            document = answer if isinstance(answer, dict) and "ok" in answer else {"ok": True, "result": answer}
            self._unread += json.dumps(document).encode() + b"\n"
        del results[:count]

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        chunk, self._unread = self._unread, b""
        return chunk

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@dataclass
class FakeStore:
    """Files in a dict, one for each folder."""

    files: dict[str, bytes] = field(default_factory=dict)

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def write(self, name: str, content: bytes) -> None:
        self.files[name] = content

    def remove(self, name: str) -> None:
        self.files.pop(name, None)


@dataclass
class Machine:
    """What the commands see of this machine."""

    answers: dict[str, list[Any]] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    sockets: list[Path] = field(default_factory=list)
    stores: dict[Path | None, FakeStore] = field(default_factory=dict)
    seen: tuple[Sighting, ...] = ()
    """Sockets of nodes, whoever's they are."""
    refusal: OSError | None = None

    async def open_stream(self, path: Path) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.sockets.append(path)
        if not self.answers:
            raise Unreachable("no such file") from self.refusal
        return FakeNodeStream(self.answers, self.requests)

    def sightings(self) -> tuple[Sighting, ...]:
        return self.seen

    def world(self, state: Path | None, without: frozenset[Offload] = frozenset()) -> Any:
        store = self.stores.setdefault(state, FakeStore())
        return SimpleNamespace(controls=self, store=store, entropy=SimpleNamespace(token=lambda size: b"\x07" * size))


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


class Terminal(io.StringIO):
    """Where somebody types."""

    def isatty(self) -> bool:
        return True


def type_in(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Let a user at the terminal type this."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(launch, "this_machine", made.world)
    return made


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run the command with these words, to its end."""
    monkeypatch.setattr(launch, "guard_memory", lambda: None)  # it would hold for all tests of this process

    def run_it(*argv: str) -> Outcome:
        code = run(argv)
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return run_it


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> trio.testing.MockClock:
    """Every `trio.run` of the command runs on this clock."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    real_run = trio.run
    monkeypatch.setattr(trio, "run", lambda *args: real_run(*args, clock=clock))
    return clock
