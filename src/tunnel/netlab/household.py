"""The real program in a lab: a server, and nodes on its hosts, as processes of their own.

with Lab(SiteSpec("home"), SiteSpec("office")) as lab, Household(lab, folder) as household:
    household.start_server()
    household.start_node(lab.sites["home"].host, "desk")
    household.status("desk")
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tunnel.model.errors import DeviceError, Unreachable
from tunnel.model.settings import STUN_PORTS
from tunnel.netlab.lab import Lab
from tunnel.netlab.sites import SERVER_ADDRESSES, Host

COMMAND = (sys.executable, "-m", "tunnel")
SERVER_PORT = 443
"""Where the server listens: what still leaves a network that blocks UDP."""
_START_PATIENCE = 20.0
_LOOK_AGAIN = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """One program in the lab."""

    name: str
    host: Host
    process: subprocess.Popen[bytes]
    control: Path | None
    tun: str


class Household:
    """Starts, asks and ends. Each node keeps its state in a folder of its own below `folder`."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self.folder = folder
        self._ready = ""
        self.server: Running | None = None
        self.nodes: dict[str, Running] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for running in (*self.nodes.values(), *([self.server] if self.server else [])):
            self._end(running)

    def start_server(self, *options: str) -> None:
        """Start the server and read where it serves. Raises DeviceError when it does not come up."""
        state = self._state("server")
        listen = f"{SERVER_ADDRESSES[0]}:{SERVER_PORT}"
        argv = [*COMMAND, "server", "--listen", listen, "--state", str(state)]
        for address, port in product(SERVER_ADDRESSES, STUN_PORTS):
            argv += ["--udp", f"{address}:{port}"]
        with self._log("server") as log:
            process = self._lab.popen(self._lab.server, [*argv, *options], stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        self._ready = process.stdout.readline().decode().strip()
        if not self._ready.startswith("ready "):
            raise DeviceError(f"the server did not come up: {self.log('server')}")
        self.server = Running("server", self._lab.server, process, None, "")

    def kill_server(self) -> None:
        """As a power cut would."""
        assert self.server is not None
        self.server.process.kill()
        self.server.process.wait()

    def make_invite(self) -> Path:
        """A file with the invite of a new network, made once."""
        path = self.folder / "invite"
        if not path.exists():
            _, url, pin = self._ready.split()
            argv = [*COMMAND, "invite", "--server", url, "--pin", pin, "--network", "lab"]
            path.touch(mode=0o600)
            path.write_text(self._lab.run(self._lab.server, argv))
        return path

    def start_node(self, host: Host, name: str, *options: str) -> Running:
        """Start `up` with a TUN interface of its own, and wait until its control socket answers."""
        tun = f"t-{name}"[:15]
        argv = [*COMMAND, "up", "--invite-file", str(self.make_invite()), "--name", name, "--tun", tun]
        state = self._state(name)
        control = state / "control.sock"
        argv += ["--state", str(state), "--control", str(control), "--no-default-stun", *options]
        with self._log(name) as log:
            process = self._lab.popen(host, argv, stdout=subprocess.DEVNULL, stderr=log)
        running = self.nodes[name] = Running(name, host, process, control, tun)
        return running

    def kill_node(self, name: str) -> None:
        """As `kill -9` does."""
        self.nodes[name].process.kill()
        self.nodes[name].process.wait()

    def ask(self, name: str, *argv: str) -> str:
        """What a command of this node's control socket prints. Raises DeviceError when it fails."""
        running = self.nodes[name]
        return self._lab.run(running.host, [*COMMAND, *argv, "--control", str(running.control)])

    def status(self, name: str) -> dict[str, Any]:
        """`status --json`."""
        status: dict[str, Any] = json.loads(self.ask(name, "status", "--json"))
        return status

    def peer(self, name: str, peer: str) -> dict[str, Any] | None:
        """What one node says of another; None if it does not know it."""
        for entry in self.status(name)["peers"]:
            if entry["name"] == peer:
                found: dict[str, Any] = entry
                return found
        return None

    def address(self, name: str) -> str:
        """The node's IPv4 tunnel address, once it has one."""
        found: str = self.wait(
            lambda: next((one for one in self._addresses(name) if ":" not in one), None), "a tunnel address"
        )
        return found

    def wait_known(self, name: str, peer: str) -> dict[str, Any]:
        """What a node says of a peer, as soon as it knows it."""
        found: dict[str, Any] = self.wait(lambda: self.peer(name, peer), f"{peer} at {name}")
        return found

    def wait_state(self, name: str, peer: str, state: str, patience: float = _START_PATIENCE) -> dict[str, Any]:
        """The peer's entry, as soon as it is in this state. Raises Unreachable, with the last entry."""

        def look() -> dict[str, Any] | None:
            entry = self.peer(name, peer)
            return entry if entry is not None and entry["state"] == state else None

        try:
            found: dict[str, Any] = self.wait(look, f"{peer} {state}", patience)
        except Unreachable as error:
            raise Unreachable(f"{error}; last seen: {self.peer(name, peer)}") from None
        return found

    def ping(self, name: str, peer: str, *options: str) -> subprocess.Popen[bytes]:
        """The system's own ping through the tunnel, running."""
        running = self.nodes[name]
        argv = ["ping", "-n", "-D", *options, self.address(peer)]
        return self._lab.popen(running.host, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def log(self, name: str) -> str:
        """What a program has written to its log so far."""
        return (self.folder / f"{name}.log").read_text()

    def wait(self, look: Callable[[], Any], what: str, patience: float = _START_PATIENCE) -> Any:
        """What `look` finds. Raises Unreachable when it finds nothing in time."""
        ends = time.monotonic() + patience
        while time.monotonic() < ends:
            with suppress(DeviceError):
                found = look()
                if found is not None:
                    return found
            time.sleep(_LOOK_AGAIN)
        raise Unreachable(f"no {what} within {patience:g} s")

    def _addresses(self, name: str) -> list[str]:
        addresses: list[str] = self.status(name)["node"]["addresses"]
        return addresses

    def _state(self, name: str) -> Path:
        state = self.folder / name
        state.mkdir(mode=0o700, exist_ok=True, parents=True)
        return state

    @contextmanager
    def _log(self, name: str) -> Iterator[Any]:
        with (self.folder / f"{name}.log").open("ab") as log:
            yield log

    def _end(self, running: Running) -> None:
        if running.process.poll() is None:
            running.process.terminate()
            running.process.wait()
        if running.process.stdout is not None:
            running.process.stdout.close()
