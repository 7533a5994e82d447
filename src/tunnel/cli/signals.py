"""How long-running commands end: SIGTERM is a clean end, SIGINT is an interruption; both let the program leave."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import trio

from tunnel.cli.exits import DONE, INTERRUPTED


async def run_until_signal(program: Callable[[], Awaitable[None]]) -> int:
    """Run the program; on a signal cancel it and wait for its clean-up. The exit code."""
    code = DONE
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as arrivals:
        async with trio.open_nursery() as nursery:
            whole = trio.CancelScope()

            async def heed() -> None:
                nonlocal code
                async for number in arrivals:  # a second signal must not kill the clean-up
                    code = DONE if number == signal.SIGTERM else INTERRUPTED
                    whole.cancel()

            nursery.start_soon(heed)
            with whole:
                await program()
            nursery.cancel_scope.cancel()
    return code
