"""What all tests share: Hypothesis repeats itself and never judges by real time; a mock clock is the test's clock."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

CLOCKS = ("autojump_clock", "mock_clock")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a test the clock that one of its fixtures asks for: pytest-trio itself looks at the test's own arguments."""
    for item in items:
        if isinstance(item, pytest.Function):
            for name in CLOCKS:
                if name in item.fixturenames:
                    item.add_marker(pytest.mark.trio(run=partial(_run_on_clock, item, name)), append=False)


def _run_on_clock(item: pytest.Function, name: str, test: Any, **options: Any) -> Any:
    return trio.run(test, **{**options, "clock": item.funcargs[name]})
