"""The progress of a long command, on stderr: on a terminal one line that is overwritten, elsewhere one now and then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

FIRST_AFTER = 1.0
"""Seconds: what is done sooner shows no progress."""
ON_TERMINAL = 0.1
ELSEWHERE = 10.0


@asynccontextmanager
async def showing_elapsed(what: str) -> AsyncIterator[None]:
    """Show on a terminal, each second, how long the block has taken; erase it at the end. Elsewhere show nothing."""
    if not _is_terminal():
        yield
        return
    began, width = trio.current_time(), 0

    async def show() -> None:
        nonlocal width
        while True:
            text = f"{what}: {trio.current_time() - began:.0f} s"
            print("\r" + text, end="", file=sys.stderr, flush=True)
            width = len(text)
            await trio.sleep(1)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(show)
            yield
            nursery.cancel_scope.cancel()
    finally:
        print("\r" + " " * width + "\r", end="", file=sys.stderr, flush=True)


def _is_terminal() -> bool:
    """Whether stderr is a terminal on which a line can be overwritten."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


class Progress:
    """`step` counts one job. A context manager: at its end the line is erased."""

    def __init__(self, what: str, total: int, *, is_shown: bool) -> None:
        self._what = what
        self._total = total
        self._is_terminal = _is_terminal()
        self._is_shown = is_shown
        self._done = self._bad = 0
        self._began = time.monotonic()
        self._next = self._began + FIRST_AFTER
        self._width = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._width:
            print("\r" + " " * self._width + "\r", end="", file=sys.stderr, flush=True)

    def step(self, *, is_bad: bool = False) -> None:
        """One more is done."""
        self._done += 1
        self._bad += is_bad
        now = time.monotonic()
        if self._is_shown and now >= self._next:
            self._next = now + (ON_TERMINAL if self._is_terminal else ELSEWHERE)
            self._show(now - self._began)

    def _show(self, took: float) -> None:
        left = took / self._done * (self._total - self._done)
        text = f"{self._done} of {self._total} {self._what}, {self._bad} failed, about {left:.0f} s left"
        if self._is_terminal:
            print("\r" + text.ljust(self._width), end="", file=sys.stderr, flush=True)
            self._width = len(text)
        else:
            print(text, file=sys.stderr, flush=True)
