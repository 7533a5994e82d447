"""A console that keeps what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class RecordingConsole:
    """What was said, moves as (node, event), paths as (node, kind)."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.moves: list[tuple[str, str]] = []
        self.paths: list[tuple[str, str | None]] = []

    def title(self, text: str) -> None:
        self.texts.append(text)

    def heading(self, text: str) -> None:
        self.texts.append(text)

    def say(self, who: str, text: str, at: float | None = None) -> None:
        self.texts.append(text)

    def move(self, node: str, peer: str, source: str, event: str, target: str, at: float) -> None:
        self.moves.append((node, event))

    def path(self, node: str, peer: str, kind: str | None, at: float) -> None:
        self.paths.append((node, kind))

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        self.texts.append(text)
        yield


@pytest.fixture
def console() -> RecordingConsole:
    return RecordingConsole()
