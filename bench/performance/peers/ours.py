"""This program: on a direct path, over the UDP relay, over the WebSocket relay, and with any options.

The server runs for each of them, since nodes meet there; on a direct path its use of the CPU is not counted.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

from bench.performance.peers.tunnel import Tunnel
from bench.performance.stage import Stage

from tunnel.model.errors import Unreachable
from tunnel.model.offload import Offload
from tunnel.verify.netlab.programs import COMMAND, LabPrograms, is_direct

HOME, OFFICE = "desk", "laptop"
_SETTLING = 30.0
"""Seconds that two nodes get to have the path that is measured."""


@dataclass(frozen=True, slots=True)
class Ours:
    """Two nodes and a server. `path` is the kind of path that they must have, as `status` names it."""

    name: str = "ours"
    path: str = "direct"
    home_options: tuple[str, ...] = ()
    office_options: tuple[str, ...] = ()
    server_options: tuple[str, ...] = ()
    python: str = sys.executable
    """Of the nodes: another checkout's, to compare two versions."""

    def missing(self) -> None:
        return None

    def version(self) -> str:
        return f"p2ptunnel-trio {version('p2ptunnel-trio')}"

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Tunnel]:
        folder = stage.folder / f"{self.name}-{time.monotonic_ns()}"
        folder.mkdir(parents=True)
        with LabPrograms(stage.lab, folder) as programs:
            programs.start_server(*self.server_options)
            command = (self.python, *COMMAND[1:])
            relayed = () if self.path == "direct" else ("--relay-only",)
            programs.start_node(stage.home, HOME, *relayed, *self.home_options, command=command)
            programs.start_node(stage.office, OFFICE, *relayed, *self.office_options, command=command)
            programs.wait_ready(HOME, OFFICE)
            address = programs.address(OFFICE)
            self._settle(stage, programs, address)
            assert programs.server is not None
            yield Tunnel(
                address,
                (programs.nodes[HOME].process.pid,),
                (programs.nodes[OFFICE].process.pid,),
                () if self.path == "direct" else (programs.server.pid,),
                lambda: self._check(programs),
            )

    def _settle(self, stage: Stage, programs: LabPrograms, address: str) -> None:
        """Send pings until both ends have the path. A circuit comes when the relay is in use."""
        ends = time.monotonic() + _SETTLING
        while True:
            pinging = ["ping", "-n", "-q", "-i", "0.01", "-c", "50", "-W", "2", "-s", "1000", address]
            process = stage.lab.popen(stage.home, pinging, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            process.wait()
            try:
                return self._check(programs)
            except Unreachable:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.2)

    def _check(self, programs: LabPrograms) -> None:
        for one, other in ((HOME, OFFICE), (OFFICE, HOME)):
            entry = programs.peer(one, other)
            path = None if entry is None or entry["path"] is None else entry["path"]["kind"]
            if entry is None or path != self.path or (path == "direct" and not is_direct(entry)):
                raise Unreachable(f"{one}'s path to {other} is {path}, not {self.path}")


_PLAINLY = tuple(word for offload in Offload for word in ("--without-offload", offload.value))
PLAIN = Ours("ours-plain", home_options=_PLAINLY, office_options=_PLAINLY)
"""As on a kernel without any offload."""
RELAYED_UDP = Ours("ours-relay-udp", "relay-udp")
RELAYED_WEBSOCKET = Ours("ours-relay-websocket", "relay-websocket", server_options=("--no-udp-relay",))
