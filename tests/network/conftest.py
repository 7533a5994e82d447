"""Fixtures for the ports: a network namespace of one's own."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Awaitable, Callable

import outcome
import pytest
import trio

CLONE_NEWNET = 0x40000000
Isolated = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture
def run_isolated() -> Isolated:
    """Runs an async function in a thread whose network namespace is new and vanishes with it. Needs root."""

    def run(main: Callable[[], Awaitable[None]]) -> None:
        results: list[outcome.Outcome[None]] = []

        def enter_and_run() -> None:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            trio.run(main)

        thread = threading.Thread(target=lambda: results.append(outcome.capture(enter_and_run)))
        thread.start()
        thread.join()
        results[0].unwrap()

    return run
