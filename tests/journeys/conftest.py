"""Journeys of the real program through a lab: real processes, real TUN interfaces, real NATs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tunnel.model.settings import STUN_PORTS
from tunnel.verify.netlab import Kind, Lab, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms

ONE_WAY = 10.0
"""Milliseconds between a site and the internet: 40 ms from site to site and back."""

BUSY = 5.0
"""Seconds that a machine with other work may add to what is claimed.

The kernels are real here, and so is the machine's load. What the program alone takes is claimed in virtual time.
"""

Pair = tuple[Lab, LabPrograms]
OpenLabPrograms = Callable[..., Pair]
OpenPair = Callable[..., Pair]


@pytest.fixture(scope="module")
def open_lab_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenLabPrograms]:
    """Builds a lab of these sites with a server that serves; it lives as long as the module's tests."""
    with ExitStack() as stack:

        def build(
            *specs: SiteSpec,
            server_options: Sequence[str] = (),
            stun_ports: Sequence[int] = STUN_PORTS,
            listen: Sequence[str] = (),
            url: str | None = None,
        ) -> Pair:
            folder: Path = tmp_path_factory.mktemp("programs")
            lab = stack.enter_context(Lab(*specs))
            lab_programs = stack.enter_context(LabPrograms(lab, folder))
            lab_programs.start_server(*server_options, stun_ports=stun_ports, listen=listen, url=url)
            return lab, lab_programs

        yield build


@pytest.fixture(scope="module")
def open_pair(open_lab_programs: OpenLabPrograms) -> OpenPair:
    """Builds a lab with a desk at home and a laptop in the office, which know each other."""

    def build(kind: Kind = Kind.PORT_PRESERVING, *, delay: float = 0.0) -> Pair:
        lab, lab_programs = open_lab_programs(
            SiteSpec("home", kind, delay=delay), SiteSpec("office", kind, delay=delay)
        )
        lab_programs.start_node(lab.sites["home"].host, "desk")
        lab_programs.start_node(lab.sites["office"].host, "laptop")
        lab_programs.wait_ready("desk", "laptop")
        return lab, lab_programs

    return build


@pytest.fixture(scope="module")
def pair(open_pair: OpenPair) -> Pair:
    """Both behind port-preserving NATs, without delay. Modules may have another one."""
    return open_pair()
