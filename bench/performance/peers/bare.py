"""No tunnel: the limit of what the wire and the kernel carry."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager

from bench.performance.peers.tunnel import Tunnel
from bench.performance.stage import Stage


class Bare:
    """The wire itself."""

    name = "bare"

    def missing(self) -> None:
        return None

    def version(self) -> str:
        return "Linux " + ".".join(platform.release().split(".")[:2])

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Tunnel]:
        yield Tunnel(stage.office.address)
