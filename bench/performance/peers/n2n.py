"""n2n: two edges that meet at a supernode on the server's host, and then send straight to each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.performance.peers.tunnel import Programs, Tunnel, first_missing
from bench.performance.stage import Stage

_PORT = 7654


class N2n:
    """A community of two."""

    name = "n2n"

    def missing(self) -> str | None:
        return first_missing("edge", "supernode")

    def version(self) -> str:
        return "n2n"

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Tunnel]:
        with Programs(stage, self.name) as programs:
            programs.start(stage.lab.server, ["supernode", "-l", str(_PORT)])
            pids = []
            for number, host in enumerate((stage.home, stage.office), 1):
                argv = ["edge", "-d", "n2n-b", "-a", f"10.205.0.{number}", "-c", "bench", "-k", "bench"]
                argv += ["-s", "255.255.255.0", "-l", f"{stage.lab.server.address}:{_PORT}", "-p", "7655"]
                pids.append(programs.start(host, argv))
            programs.wait_answer("10.205.0.2")
            yield Tunnel("10.205.0.2", (pids[0],), (pids[1],))
