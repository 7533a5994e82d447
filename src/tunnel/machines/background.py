"""One task beside a block of code: for context managers that need a task of their own; and errors without groups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio


@asynccontextmanager
async def run_beside(task: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Run `task` while the block runs and cancel it afterward.

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


@contextmanager
def bare_errors() -> Iterator[None]:
    """Let an error that is alone in its group leave without the group; several at once stay together."""
    try:
        yield
    except BaseExceptionGroup as group:
        error = only_error(group)
        if isinstance(error, BaseExceptionGroup):
            raise
        raise error from error.__cause__


def only_error(error: BaseException) -> BaseException:
    """What is inside groups of one; an error that is no such group is itself."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
