"""How far a long command has come, on stderr: one line written over on a terminal, elsewhere one now and then."""

from __future__ import annotations

import sys
import time

FIRST_AFTER = 1.0
"""Seconds: what is done sooner needs no progress."""
ON_TERMINAL = 0.1
ELSEWHERE = 10.0


class Progress:
    """`step` for each thing done. A context manager: at its end the line is wiped away."""

    def __init__(self, what: str, total: int, *, is_shown: bool) -> None:
        self._what = what
        self._total = total
        self._is_terminal = sys.stderr.isatty()
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
            self._tell(now - self._began)

    def _tell(self, took: float) -> None:
        left = took / self._done * (self._total - self._done)
        text = f"{self._done} of {self._total} {self._what}, {self._bad} failed, about {left:.0f} s left"
        if self._is_terminal:
            print("\r" + text.ljust(self._width), end="", file=sys.stderr, flush=True)
            self._width = len(text)
        else:
            print(text, file=sys.stderr, flush=True)
