"""wireguard-go: Debian's, or any other that is named by its path."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.performance.peers.tunnel import Programs, Tunnel, first_line, first_missing
from bench.performance.stage import Stage

_PORT = 51820


@dataclass(frozen=True, slots=True)
class WireguardGo:
    """One binary, with its own settings: MTU 1420."""

    name: str = "wireguard-go"
    command: str = "wireguard-go"

    def missing(self) -> str | None:
        return first_missing(self.command, "wg")

    def version(self) -> str:
        return first_line(self.command, "--version")

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Tunnel]:
        keys = [_make_keys() for _ in range(2)]
        ends = ((stage.home, stage.office, "wgb-home", 1), (stage.office, stage.home, "wgb-office", 2))
        with Programs(stage, self.name) as programs:
            pids = []
            for host, far, interface, number in ends:
                environment = dict(os.environ, WG_PROCESS_FOREGROUND="1", LOG_LEVEL="error")
                pids.append(programs.start(host, [self.command, "-f", interface], environment))
                programs.wait_interface(host, interface)
                private = programs.write(f"key{number}", keys[number - 1][0])
                argv = ["wg", "set", interface, "listen-port", str(_PORT), "private-key", str(private)]
                argv += ["peer", keys[2 - number][1].strip(), "allowed-ips", f"10.201.0.{3 - number}/32"]
                stage.lab.run(host, [*argv, "endpoint", f"{far.address}:{_PORT}"])
                stage.lab.run(host, ["ip", "addr", "add", f"10.201.0.{number}/24", "dev", interface])
                stage.lab.run(host, ["ip", "link", "set", interface, "up"])
            programs.wait_answer("10.201.0.2")
            yield Tunnel("10.201.0.2", (pids[0],), (pids[1],))


def _make_keys() -> tuple[str, str]:
    private = subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout
    return private, subprocess.run(["wg", "pubkey"], input=private, capture_output=True, text=True, check=True).stdout
