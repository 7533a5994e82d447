"""The real program in a lab: a server, and nodes on its hosts, as processes of their own.

with Lab(SiteSpec("home"), SiteSpec("office")) as lab, LabPrograms(lab, folder) as programs:
    programs.start_server()
    programs.start_node(lab.sites["home"].host, "desk")
    programs.start_node(lab.sites["office"].host, "laptop")
    programs.wait_ready("desk", "laptop")
    programs.start_ping("desk", "laptop", count=20).finish()
    programs.wait_direct("desk", "laptop")
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain, permutations, product
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.model.settings import STUN_PORTS
from tunnel.verify.netlab.control_client import ask_node, watch_node
from tunnel.verify.netlab.lab import Lab
from tunnel.verify.netlab.pings import Pinging
from tunnel.verify.netlab.sites import SERVER_ADDRESSES, SERVER_ADDRESSES_V6, Host
from tunnel.wire.invites import decode_invite, encode_invite

COMMAND = (sys.executable, "-m", "tunnel")
SERVER_PORT = 443
"""The port of the server: one that networks without UDP still let out."""
NETWORK = "lab"
"""The network that nodes are in unless told otherwise."""
PATIENCE = 20.0
"""Seconds that peers get to reach an expected state."""
STARTING = 60.0
"""Seconds that nodes get to start and survey, all at once on a busy machine."""
_LOOK_AGAIN = 0.05
_BOTH_FAMILIES = (SERVER_ADDRESSES, SERVER_ADDRESSES_V6)


@dataclass(frozen=True, slots=True)
class Running:
    """One program in the lab."""

    name: str
    host: Host
    process: subprocess.Popen[bytes]
    control: Path
    tun: str


class LabPrograms:
    """Starts, queries and ends programs. Each keeps its state in a folder of its own below `folder`."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self.folder = folder
        self._ready = ""
        self._url: str | None = None
        self.server: subprocess.Popen[bytes] | None = None
        self.nodes: dict[str, Running] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        processes = [running.process for running in self.nodes.values()]
        processes += [self.server] if self.server is not None else []
        for process in processes:
            process.terminate()
        ends = time.monotonic() + PATIENCE
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, ends - time.monotonic()))
            process.kill()
            process.wait()

    # Programs

    def start_server(
        self, *options: str, stun_ports: Sequence[int] = STUN_PORTS, listen: Sequence[str] = (), url: str | None = None
    ) -> None:
        """Start the server and read where it serves. Raises DeviceError if it does not come up.

        By default it is told each address of the lab's server; with `listen` (HOST:PORT) only those. Invites name
        `url`, if it is given.
        """
        argv = [*COMMAND, "server", "--state", str(self.state("server"))]
        if listen:
            argv += ["--listen", listen[0], *chain(*(("--also-listen", place) for place in listen[1:]))]
        else:
            first, *others = [SERVER_ADDRESSES] if self._lab.server.address_v6 is None else _BOTH_FAMILIES
            argv += ["--listen", _server(first), *chain(*(("--also-listen", _server(one)) for one in others))]
            for address, port in product((*first, *chain(*others)), stun_ports):
                argv += ["--udp", str(Endpoint(address, port))]
        self._url = url
        with self._log("server") as log:
            process = self._lab.popen(self._lab.server, [*argv, *options], stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        with process.stdout:
            self._ready = process.stdout.readline().decode().strip()
        if not self._ready.startswith("ready "):
            raise DeviceError(f"the server did not come up: {self.log('server')}")
        self.server = process

    def kill_server(self) -> None:
        """As a power cut would."""
        assert self.server is not None
        self.server.kill()
        self.server.wait()

    def make_invite(self, *, ipv6: bool = False, network: str = NETWORK) -> Path:
        """A file with the invite of a new network, made once; with `ipv6` the same with the server's IPv6 address."""
        path = self.folder / f"invite-{network}"
        if not path.exists():
            _, url, pin = self._ready.split()
            argv = [*COMMAND, "invite", "--server", self._url or url, "--pin", pin, "--network", network]
            path.touch(mode=0o600)
            path.write_text(self._lab.run(self._lab.server, argv))
        if not ipv6:
            return path
        path_v6 = self.folder / f"invite-{network}-v6"
        path_v6.touch(mode=0o600)
        invite = replace(decode_invite(path.read_text()), server=f"wss://{_server(SERVER_ADDRESSES_V6)}")
        path_v6.write_text(encode_invite(invite))
        return path_v6

    def start_node(
        self,
        host: Host,
        name: str,
        *options: str,
        command: Sequence[str] = COMMAND,
        ipv6: bool | None = None,
        network: str = NETWORK,
        chooses: bool = False,
        **environment: str,
    ) -> Running:
        """Start `up`, with a TUN interface of its own unless `--userspace` is among the options.

        With `chooses` it is told nothing of its interface.

        It is not up yet: see the `wait_...` methods. It dials the server over IPv6 if it has nothing else, or as `ipv6`
        says. `environment` is added to that of this process, without its proxies: they are not in the lab.
        """
        tun = f"t-{name}"[:15]
        state = self.state(name)
        control = state / "control.sock"
        invite = self.make_invite(ipv6=host.address == host.address_v6 if ipv6 is None else ipv6, network=network)
        argv = [*command, "up", "--invite-file", str(invite), "--name", name]
        if not chooses and not any(option.startswith("--userspace") for option in options):
            argv += ["--tun", tun]
        argv += ["--state", str(state), "--control", str(control), "--no-default-stun", *options]
        with self._log(name) as log:
            process = self._lab.popen(
                host, argv, stdout=subprocess.DEVNULL, stderr=log, env=_without_proxies() | environment
            )
        running = self.nodes[name] = Running(name, host, process, control, tun)
        return running

    def restart_node(self, name: str) -> Running:
        """Start the same node on the same host again, after its end."""
        return self.start_node(self.nodes[name].host, name)

    def stop_node(self, name: str) -> None:
        """End a node as a service manager does."""
        self.nodes[name].process.terminate()
        self.nodes[name].process.wait()

    def kill_node(self, name: str) -> None:
        """Kill a node as `kill -9` does."""
        self.nodes[name].process.kill()
        self.nodes[name].process.wait()

    def start_ping(
        self,
        name: str,
        peer: str,
        *,
        interval: float = 0.2,
        count: int | None = None,
        size: int = 56,
        pattern: bytes = b"",
    ) -> Pinging:
        """The system's own ping from one node to another's IPv4 tunnel address.

        Its payload has `size` bytes, 28 less than the packet, and repeats `pattern`.
        """
        argv = ["ping", "-n", "-D", "-i", str(interval), *(["-c", str(count)] if count is not None else [])]
        argv += ["-s", str(size), *(["-p", pattern.hex()] if pattern else [])]
        argv.append(self.address(peer))
        process = self._lab.popen(
            self.nodes[name].host, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"LC_ALL": "C"}
        )
        return Pinging(process)

    # Questions

    def command(self, name: str, *argv: str) -> str:
        """What a command of this node prints, `status --json` for example. Raises DeviceError when it fails."""
        running = self.nodes[name]
        return self._lab.run(running.host, [*COMMAND, *argv, "--control", str(running.control)])

    def printed_status(self, name: str) -> dict[str, Any]:
        """What `status --json` prints."""
        status: dict[str, Any] = json.loads(self.command(name, "status", "--json"))
        return status

    def status(self, name: str) -> dict[str, Any]:
        """The same, straight from the control socket."""
        status: dict[str, Any] = ask_node(self.nodes[name].control, "status")
        return status

    def peer(self, name: str, peer: str) -> dict[str, Any] | None:
        """What one node says of another; None if it does not know the other."""
        return peer_in(self.status(name), peer)

    def address(self, name: str) -> str:
        """The node's IPv4 tunnel address, once it has one."""
        status = self.wait_status(name, lambda status: len(status["node"]["addresses"]) > 1, "a tunnel address")
        return str(next(one for one in status["node"]["addresses"] if ":" not in one))

    def log(self, name: str) -> str:
        """What a program has written to its log so far."""
        return (self.folder / f"{name}.log").read_text()

    def state(self, name: str) -> Path:
        """The folder where a program keeps its state."""
        state = self.folder / name
        state.mkdir(mode=0o700, exist_ok=True, parents=True)
        return state

    # Waiting

    def wait_status(
        self, name: str, holds: Callable[[dict[str, Any]], bool], what: str, patience: float = PATIENCE
    ) -> dict[str, Any]:
        """Wait for the first status for which `holds` is true. Raises Unreachable, with the last status and log."""
        ends = time.monotonic() + patience
        status: dict[str, Any] | None = None
        while (left := ends - time.monotonic()) > 0:
            with suppress(Unreachable):
                for status in watch_node(self.nodes[name].control, left):
                    if holds(status):
                        return status
            time.sleep(_LOOK_AGAIN)  # it is not up yet, or it ended
        raise Unreachable(f"{name}: not {what} within {patience:g} s\n{json.dumps(status, indent=1)}\n{self.log(name)}")

    def wait_peer(
        self, name: str, peer: str, holds: Callable[[dict[str, Any]], bool], what: str, patience: float = PATIENCE
    ) -> dict[str, Any]:
        """Wait until `holds` is true of what a node says of a peer, and return that."""

        def look(status: dict[str, Any]) -> bool:
            entry = peer_in(status, peer)
            return entry is not None and holds(entry)

        found = peer_in(self.wait_status(name, look, f"{peer} {what}", patience), peer)
        assert found is not None
        return found

    def wait_state(self, name: str, peer: str, state: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Wait until a node says that a peer is in this state, and return what it says."""
        return self.wait_peer(name, peer, lambda entry: bool(entry["state"] == state), state, patience)

    def wait_ready(self, *names: str, patience: float = STARTING) -> None:
        """Wait until these nodes know each other, and have told all about themselves (no peer is `detecting`)."""
        for one, other in permutations(names, 2):
            self.wait_peer(
                one, other, lambda entry: bool(entry["state"] != "detecting"), "known and surveyed", patience
            )

    def wait_direct(self, one: str, other: str, patience: float = PATIENCE) -> tuple[dict[str, Any], dict[str, Any]]:
        """Wait until both carry data on a direct path, and return what they say of each other."""
        ends = time.monotonic() + patience
        return (
            self.wait_peer(one, other, is_direct, "direct", patience),
            self.wait_peer(other, one, is_direct, "direct", ends - time.monotonic()),
        )

    @contextmanager
    def _log(self, name: str) -> Iterator[Any]:
        with (self.folder / f"{name}.log").open("ab") as log:
            yield log


def _server(addresses: Sequence[str]) -> str:
    return str(Endpoint(addresses[0], SERVER_PORT))


def peer_in(status: dict[str, Any], peer: str) -> dict[str, Any] | None:
    """The entry of the peer with this name in a status."""
    found: dict[str, Any] | None = next((entry for entry in status["peers"] if entry["name"] == peer), None)
    return found


def is_direct(entry: dict[str, Any]) -> bool:
    """Whether a peer is `connected` and its data goes straight."""
    return entry["state"] == "connected" and entry["path"] is not None and entry["path"]["kind"] == "direct"


def _without_proxies() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
