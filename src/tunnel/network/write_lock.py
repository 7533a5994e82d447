"""A lock for the writers of one stream: nearly always there is only one, and it pays nothing."""

from __future__ import annotations

import trio


class WriteLock:
    """`async with` it around a write, which is the checkpoint: there is none here unless somebody else writes."""

    __slots__ = ("_is_taken", "_waiting")

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def is_taken(self) -> bool:
        """Whether somebody writes."""
        return self._is_taken

    async def __aenter__(self) -> None:
        while self._is_taken:
            await self._waiting.park()
        self._is_taken = True

    async def __aexit__(self, *_: object) -> None:
        self._is_taken = False
        if self._waiting:
            self._waiting.unpark()
