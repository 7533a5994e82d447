"""How long-running commands end: SIGTERM and SIGHUP are a clean end, SIGINT is an interruption. All let it clean up.

SIGHUP comes when a terminal or an ssh session is closed. Where it is ignored already, as by `nohup`, it stays ignored.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import trio

from tunnel.cli.exit_codes import DONE, INTERRUPTED


async def run_until_signal(program: Callable[[], Awaitable[None]]) -> int:
    """Run the program; on a signal cancel it and wait for its clean-up. Returns the exit code."""
    code = DONE
    awaited = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        awaited.append(signal.SIGHUP)
    with trio.open_signal_receiver(*awaited) as arrivals:
        async with trio.open_nursery() as nursery:
            whole = trio.CancelScope()

            async def cancel_on_signal() -> None:
                nonlocal code
                async for number in arrivals:  # a second signal must not kill the clean-up
                    code = INTERRUPTED if number == signal.SIGINT else DONE
                    whole.cancel()

            nursery.start_soon(cancel_on_signal)
            with whole:
                await program()
            nursery.cancel_scope.cancel()
    return code
