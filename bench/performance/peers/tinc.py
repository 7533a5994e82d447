"""tinc 1.0, as it is without settings of our own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from bench.performance.peers.tunnel import Programs, Tunnel, first_line, first_missing
from bench.performance.stage import Stage


class Tinc:
    """Two daemons; home connects to the office."""

    name = "tinc"

    def missing(self) -> str | None:
        return first_missing("tincd")

    def version(self) -> str:
        return first_line("tincd", "--version").partition(" (")[0]

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Tunnel]:
        hosts = (stage.home, stage.office)
        with Programs(stage, self.name) as programs:
            public = {}
            for number, host in enumerate(hosts, 1):
                lines = [f"Name = {host.name}", "Interface = tinc-b", "AddressFamily = ipv4"]
                lines += ["ConnectTo = office"] if host is stage.home else []
                programs.write(f"{host.name}/tinc.conf", "\n".join(lines) + "\n")
                up = f"#!/bin/sh\nip addr add 10.203.0.{number}/24 dev $INTERFACE\nip link set $INTERFACE up\n"
                programs.write(f"{host.name}/tinc-up", up).chmod(0o700)
                entry = f"Address = {host.address}\nSubnet = 10.203.0.{number}/32\n"
                path = programs.write(f"{host.name}/hosts/{host.name}", entry)
                argv = ["tincd", "-c", str(programs.folder / host.name), "-K", "2048"]
                subprocess.run(argv, stdin=subprocess.DEVNULL, check=True, capture_output=True)
                public[host.name] = path.read_text()
            pids = []
            for host, far in (hosts[::-1], hosts):
                programs.write(f"{host.name}/hosts/{far.name}", public[far.name])
                argv = ["tincd", "-D", "-c", str(programs.folder / host.name)]
                pids.append(programs.start(host, [*argv, f"--pidfile={programs.folder / host.name}.pid"]))
            programs.wait_answer("10.203.0.2")
            yield Tunnel("10.203.0.2", (pids[1],), (pids[0],))
