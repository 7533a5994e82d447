"""`demo`: the whole story on one machine, in half a minute: connect, measure, cut, heal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import trio
from cyclopts import Parameter

from tunnel.cli.exit_codes import DONE, FAILED, INTERRUPTED
from tunnel.cli.options import ConfigOption
from tunnel.cli.unix_signals import run_until_signal

if TYPE_CHECKING:
    from tunnel.cli.demo_view import DemoConsole
    from tunnel.verify.demo.findings import Findings

LONGEST = 58.0
"""Seconds after which a demo gives up, whatever it waits for."""

Story = Callable[["DemoConsole", "Findings"], Awaitable[None]]


async def demo(
    *,
    netns: Annotated[
        bool, Parameter(help="As root: behind two kernel NATs, with TUN interfaces and the system's ping.")
    ] = False,
    config: ConfigOption = None,  # noqa: ARG001 - settings_file.py reads it
) -> int:
    """Show it on this machine: a server and two nodes, relay first, direct when proven. It is cut, and heals."""
    if netns:
        from tunnel.verify.demo.netns import tell_netns as tell
    else:
        from tunnel.verify.demo.loopback import tell_loopback as tell
    return await show(tell)


async def show(tell: Story) -> int:
    """Tell a story to its end, then sum up. 1 if what it promises did not hold, 130 when a signal ended it."""
    from tunnel.cli.demo_view import DemoConsole
    from tunnel.verify.demo.findings import Findings
    from tunnel.verify.demo.processes import DemoFailed

    console, findings = DemoConsole(), Findings()
    is_told = False

    async def program() -> None:
        nonlocal is_told
        with trio.move_on_after(LONGEST) as patience:
            await tell(console, findings)
        if patience.cancelled_caught:
            console.summary(findings.lines)
            raise DemoFailed(f"the demo did not end within {LONGEST:g} s")
        is_told = True

    await run_until_signal(program)
    if not is_told:
        return INTERRUPTED
    console.summary(findings.lines)
    if findings.failures:
        broken = "; ".join(f"{line.what}: {line.measured}, expected {line.expected}" for line in findings.failures)
        console.end(f"The demo FAILED after {console.elapsed():.0f} s: {broken}", is_good=False)
        return FAILED
    console.end(f"All as promised, in {console.elapsed():.0f} s.", is_good=True)
    return DONE
