"""Two public hosts, a server, and the wire between the hosts: where the peers are measured one after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.performance.wires import LongWire, join_plainly

from tunnel.verify.netlab import Host, Kind, Lab, SiteSpec

DELAY = 10.0
"""Milliseconds one way on the long wire, and over a relay: a round trip of 20 ms."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One lab. `home` sends and dials, `office` receives and listens."""

    lab: Lab
    home: Host
    office: Host
    folder: Path
    """For the files of the peers."""
    wire: LongWire | None = None
    """The long wire, if there is one."""


@contextmanager
def open_stage(folder: Path, *, long: bool = False) -> Iterator[Stage]:
    """A stage with a plain wire, or with a long one."""
    sites = [SiteSpec(name, Kind.PUBLIC, delay=DELAY / 2 if long else 0.0) for name in ("home", "office")]
    sites += [SiteSpec("wire", Kind.PUBLIC)] if long else []
    with Lab(*sites) as lab:
        home, office = lab.sites["home"].host, lab.sites["office"].host
        if long:
            wire = LongWire(lab, home, office, lab.sites["wire"].host, DELAY)
            yield Stage(lab, home, office, folder, wire)
        else:
            join_plainly(lab, home, office)
            yield Stage(lab, home, office, folder)
