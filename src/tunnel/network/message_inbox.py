"""The messages that were read from a connection and not yet received."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import trio


class MessageInbox:
    """One task puts, and then waits until all is taken; another one takes."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._arrivals = trio.lowlevel.ParkingLot()
        self._departures = trio.lowlevel.ParkingLot()
        self._is_closed = False

    def put(self, messages: Iterable[bytes]) -> None:
        """Messages have come. They are forgotten at once when the inbox is closed."""
        if not self._is_closed:
            self._messages.extend(messages)
        self.notify()

    def notify(self) -> None:
        """End `wait_news`."""
        if self._arrivals:
            self._arrivals.unpark_all()

    def take_nowait(self) -> bytes | None:
        """The oldest, if there is one."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        if not self._messages and self._departures:
            self._departures.unpark_all()
        return message

    async def wait_news(self) -> None:
        """Return when messages come, or at `notify`."""
        await self._arrivals.park()

    async def wait_empty(self) -> None:
        """Return when all have been taken; at once, and without a checkpoint, if none wait."""
        while self._messages:
            await self._departures.park()

    def close(self) -> None:
        """Nobody takes messages any more."""
        self._is_closed = True
        self._messages.clear()
        self._departures.unpark_all()
        self.notify()
