"""nebula, as its packager sets it: AES, inner MTU 1300. Both ends know each other's address; there is no lighthouse."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from bench.performance.peers.tunnel import Programs, Tunnel, first_line, first_missing
from bench.performance.stage import Stage

_PORT = 4242


class Nebula:
    """Two nodes with certificates of their own authority."""

    name = "nebula"

    def missing(self) -> str | None:
        return first_missing("nebula", "nebula-cert")

    def version(self) -> str:
        return "nebula " + first_line("nebula", "-version").removeprefix("Version: ")

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Tunnel]:
        hosts = (stage.home, stage.office)
        with Programs(stage, self.name) as programs:
            _certify(programs, "ca", "-name", "bench")
            pids = []
            for number, host in enumerate(hosts, 1):
                _certify(programs, "sign", "-name", host.name, "-ip", f"10.202.0.{number}/24")
            for number, host in enumerate(hosts, 1):
                far, folder = hosts[2 - number], programs.folder
                settings = {
                    "pki": {
                        "ca": f"{folder}/ca.crt",
                        "cert": f"{folder}/{host.name}.crt",
                        "key": f"{folder}/{host.name}.key",
                    },
                    "static_host_map": {f"10.202.0.{3 - number}": [f"{far.address}:{_PORT}"]},
                    "lighthouse": {"am_lighthouse": False},
                    "listen": {"host": host.address, "port": _PORT},
                    "tun": {"dev": "nebula-b"},
                    "logging": {"level": "error"},
                    "firewall": {
                        way: [{"port": "any", "proto": "any", "host": "any"}] for way in ("inbound", "outbound")
                    },
                }
                path = programs.write(f"{host.name}.yml", json.dumps(settings))  # JSON is YAML
                pids.append(programs.start(host, ["nebula", "-config", str(path)]))
            programs.wait_answer("10.202.0.2")
            yield Tunnel("10.202.0.2", (pids[0],), (pids[1],))


def _certify(programs: Programs, *arguments: str) -> None:
    subprocess.run(["nebula-cert", *arguments], cwd=programs.folder, check=True, capture_output=True)
