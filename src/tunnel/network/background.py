"""One task beside a block of code: for context managers that need a task of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def run_beside(task: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Run `task` while the block runs and cancel it afterwards.

    The block's own error leaves as it is, not wrapped in a group; so a caller can write `except EndOfChannel`. An error
    of the task cancels the block and leaves in a group, as from any nursery.
    """
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task)
            try:
                yield
            except BaseException as raised:  # raised again below, once the task has ended
                error = raised
            nursery.cancel_scope.cancel()
    except BaseException:
        if error is None or isinstance(error, trio.Cancelled):
            raise
    if error is not None:
        raise error
