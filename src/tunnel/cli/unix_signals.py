"""How long-running commands end: SIGTERM and SIGHUP are a clean end, SIGINT is an interruption; each lets it leave.

SIGHUP comes when a terminal or an ssh session is closed. Where it is ignored already, as `nohup` has it, it stays so.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import trio

from tunnel.cli.exit_codes import DONE, INTERRUPTED


async def run_until_signal(program: Callable[[], Awaitable[None]]) -> int:
    """Run the program; on a signal cancel it and wait for its clean-up. The exit code."""
    code = DONE
    awaited = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        awaited.append(signal.SIGHUP)
    with trio.open_signal_receiver(*awaited) as arrivals:
        async with trio.open_nursery() as nursery:
            whole = trio.CancelScope()

            async def heed() -> None:
                nonlocal code
                async for number in arrivals:  # a second signal must not kill the clean-up
                    code = INTERRUPTED if number == signal.SIGINT else DONE
                    whole.cancel()

            nursery.start_soon(heed)
            with whole:
                await program()
            nursery.cancel_scope.cancel()
    return code
