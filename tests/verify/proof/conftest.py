"""Small fault models, and charts with something changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tunnel.verify.proof.explorer import Space, explore
from tunnel.verify.proof.model import Model
from tunnel.verify.proof.rules import Charts, FaultModel, Rules, read_charts

Explore = Callable[..., Space]


@pytest.fixture
def charts() -> Charts:
    """Those of the program."""
    return read_charts()


@pytest.fixture
def quiet(charts: Charts) -> Rules:
    """A fault model in which nothing goes wrong."""
    return Rules(charts, FaultModel("quiet"))


@pytest.fixture
def explored() -> Explore:
    """Explore a small fault model with these charts."""

    def run(charts: Charts, fault_model: FaultModel | None = None) -> Space:
        return explore(Model(Rules(charts, fault_model or FaultModel("quiet"))))

    return run
