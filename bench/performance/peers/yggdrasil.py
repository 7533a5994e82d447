"""Yggdrasil with one configured link between the two: IPv6 inside, TLS over TCP outside, its own large MTU."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from bench.performance.peers.tunnel import Programs, Tunnel, first_line, first_missing
from bench.performance.stage import Stage

_PORT = 12345


class Yggdrasil:
    """Two nodes; home dials the office."""

    name = "yggdrasil"

    def missing(self) -> str | None:
        return first_missing("yggdrasil", "dpkg-query")

    def version(self) -> str:
        return "yggdrasil " + first_line("dpkg-query", "-W", "-f", "${Version}", "yggdrasil").partition("-")[0]

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Tunnel]:
        place = f"tls://{stage.office.address}:{_PORT}"
        with Programs(stage, self.name) as programs:
            pids, address = [], ""
            for host in (stage.office, stage.home):
                made = subprocess.run(["yggdrasil", "-genconf", "-json"], check=True, capture_output=True, text=True)
                settings = json.loads(made.stdout)
                settings |= {"IfName": "ygg-b", "AdminListen": "none", "MulticastInterfaces": []}
                settings["Listen" if host is stage.office else "Peers"] = [place]
                path = programs.write(f"{host.name}.conf", json.dumps(settings))
                pids.append(programs.start(host, ["yggdrasil", "-useconffile", str(path)]))
                if host is stage.office:
                    address = first_line("yggdrasil", "-useconffile", str(path), "-address")
            programs.wait_answer(address)
            yield Tunnel(address, (pids[1],), (pids[0],))
