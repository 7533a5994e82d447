"""Journeys of the real program through a lab: real processes, real TUN interfaces, real NATs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tunnel.model.settings import STUN_PORTS
from tunnel.netlab import Lab, SiteSpec
from tunnel.netlab.household import Household

ONE_WAY = 10.0
"""Milliseconds between a site and the internet: 40 ms from site to site and back."""

BUSY = 5.0
"""Seconds that a machine with other work may add to what is claimed.

The kernels are real here, and so is the machine's load. What the program alone takes is claimed in virtual time.
"""

OpenHousehold = Callable[..., tuple[Lab, Household]]


@pytest.fixture(scope="module")
def open_household(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenHousehold]:
    """Builds a lab of these sites with a server that serves; it lives as long as the module's tests."""
    with ExitStack() as stack:

        def build(
            *specs: SiteSpec,
            server_options: Sequence[str] = (),
            stun_ports: Sequence[int] = STUN_PORTS,
            listen: Sequence[str] = (),
            url: str | None = None,
        ) -> tuple[Lab, Household]:
            folder: Path = tmp_path_factory.mktemp("household")
            lab = stack.enter_context(Lab(*specs))
            household = stack.enter_context(Household(lab, folder))
            household.start_server(*server_options, stun_ports=stun_ports, listen=listen, url=url)
            return lab, household

        yield build
