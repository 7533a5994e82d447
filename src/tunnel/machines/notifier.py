"""Wakes tasks when a fact has changed. Facts are kept values: whoever waits looks at them again."""

from __future__ import annotations

from collections.abc import Callable

import trio


class Notifier:
    """`notify` wakes every task that waits. It carries no data: the facts do."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def notify(self) -> None:
        """Wake all waiting tasks. Those that come later wait for the next `notify`."""
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        """Return at the next `notify`."""
        await self._event.wait()

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Return as soon as the condition holds. It is asked now and after each `notify`."""
        while not holds():
            await self._event.wait()
