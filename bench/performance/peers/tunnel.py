"""A tunnel between the two hosts of a stage, and what brings one up."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from bench.performance.pings import wait_answer
from bench.performance.stage import Stage

from tunnel.model.errors import DeviceError, Unreachable
from tunnel.verify.netlab.sites import Host

STARTING = 30.0
"""Seconds that a tunnel gets to answer the first ping."""
_ENDING = 3.0


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One that is up. Process ids are those of its roots; their descendants belong to it too."""

    address: str
    """Of the office, inside the tunnel."""
    home_pids: tuple[int, ...] = ()
    office_pids: tuple[int, ...] = ()
    server_pids: tuple[int, ...] = ()
    """Of a relay between the two."""
    check: Callable[[], None] = lambda: None
    """Raises Unreachable if the traffic does not go the way that is measured."""

    @property
    def end_pids(self) -> tuple[int, ...]:
        return self.home_pids + self.office_pids


class Peer(Protocol):
    """A program that makes tunnels, or the lack of one."""

    @property
    def name(self) -> str:
        """In tables."""
        ...

    def missing(self) -> str | None:
        """What must be installed first; None if all is there."""
        ...

    def version(self) -> str:
        """Of the program, in a few words."""
        ...

    def open(self, stage: Stage) -> AbstractContextManager[Tunnel]:
        """Bring the tunnel up between the stage's hosts; leaving the block takes it down."""
        ...


class Programs:
    """The processes of one tunnel. Leaving the block ends them, by their ids, the last one first."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage = stage
        self.folder = stage.folder / f"{name}-{time.monotonic_ns()}"
        self._started: list[subprocess.Popen[bytes]] = []
        self._logs = ExitStack()

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, mode=0o700)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._started):
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_ENDING)
                process.kill()
                process.wait()
        self._logs.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, host: Host, argv: Sequence[str], env: dict[str, str] | None = None) -> int:
        """Start a program on a host; its process id."""
        log = self._logs.enter_context((self.folder / f"{len(self._started)}.log").open("wb"))
        process = self._stage.lab.popen(host, argv, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder, env=env)
        self._started.append(process)
        return process.pid

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        """A file for the programs."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=mode)
        path.write_text(text)
        return path

    def wait_answer(self, address: str) -> None:
        """Wait until home's ping of the office is answered. Raises Unreachable with the ends of the logs."""
        try:
            wait_answer(self._stage.lab, self._stage.home, address, STARTING)
        except Unreachable as error:
            raise Unreachable(f"{error}\n{self._told()}") from None

    def wait_interface(self, host: Host, name: str) -> None:
        """Wait until a program has made its interface. Raises Unreachable."""
        ends = time.monotonic() + STARTING
        while time.monotonic() < ends:
            with suppress(DeviceError):
                self._stage.lab.run(host, ["ip", "link", "show", "dev", name])
                return
            time.sleep(0.05)
        raise Unreachable(f"no interface {name} within {STARTING:g} s\n{self._told()}")

    def _told(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-800:] for path in sorted(self.folder.glob("*.log")))


def first_missing(*commands: str) -> str | None:
    """The first of these commands that is not installed."""
    return next((command for command in commands if shutil.which(command) is None), None)


def first_line(*argv: str) -> str:
    """The first line that a command prints, to tell its version; empty if it cannot be run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10.0)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), "")
