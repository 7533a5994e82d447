"""Small worlds, and charts with something changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tunnel.proof.explorer import Space, explore
from tunnel.proof.model import Model
from tunnel.proof.rules import Charts, Rules, World, read_charts

Explore = Callable[..., Space]


@pytest.fixture
def charts() -> Charts:
    """Those of the program."""
    return read_charts()


@pytest.fixture
def quiet(charts: Charts) -> Rules:
    """A world in which nothing goes wrong."""
    return Rules(charts, World("quiet"))


@pytest.fixture
def explored() -> Explore:
    """Explore a small world with these charts."""

    def run(charts: Charts, world: World | None = None) -> Space:
        return explore(Model(Rules(charts, world or World("quiet"))))

    return run
