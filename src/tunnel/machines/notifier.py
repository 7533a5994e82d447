"""Says that a fact changed. Facts are kept values; whoever waits looks at them again."""

from __future__ import annotations

from collections.abc import Callable

import trio


class Notifier:
    """Wakes everybody who waits, each time it beats. It carries nothing: the facts do."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def notify(self) -> None:
        """Wake all waiters; those who come later wait for the next beat."""
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        """Return at the next beat."""
        await self._event.wait()

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Return as soon as the condition holds, looking at it now and after each beat."""
        while not holds():
            await self._event.wait()
