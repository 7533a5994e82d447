"""`demo`: a server and two nodes on this machine connect, measure, are cut and recover, in half a minute.

This file runs one demo to its end and sums up. What happens in it is in `verify/demo/`, which is handed the view that
shows it (`demo_view.py`) and the command lines of its processes (`demo_server.py`, `demo_node.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import trio
from cyclopts import Parameter

from tunnel.cli.exit_codes import DONE, FAILED, INTERRUPTED
from tunnel.cli.options import ConfigOption
from tunnel.cli.unix_signals import run_until_signal

if TYPE_CHECKING:
    from tunnel.verify.demo.console import DemoConsole
    from tunnel.verify.demo.findings import Findings
    from tunnel.verify.demo.processes import Commands

LONGEST = 58.0
"""Seconds after which a demo gives up, whatever it waits for."""
_PYTHON = (sys.executable, "-P", "-m")  # -P: modules in the current folder are not ours

Demo = Callable[["DemoConsole", "Findings"], Awaitable[None]]


async def demo(
    *,
    netns: Annotated[
        bool, Parameter(help="As root: behind two kernel NATs, with TUN interfaces and the system's ping.")
    ] = False,
    config: ConfigOption = None,  # noqa: ARG001 - settings_file.py reads it
) -> int:
    """Show on this machine how it works: a server and two nodes, relay first, direct once proved.

    The direct path is cut, and comes back.
    """
    if netns:
        from tunnel.verify.demo.netns import run_netns_demo

        return await run_demo(run_netns_demo)
    from tunnel.verify.demo.loopback import run_loopback_demo

    return await run_demo(partial(run_loopback_demo, process_commands()))


def process_commands() -> Commands:
    """The command lines of the demo's processes."""
    from tunnel.verify.demo.processes import Commands

    return Commands(server=(*_PYTHON, "tunnel.cli.demo_server"), node=(*_PYTHON, "tunnel.cli.demo_node"))


async def run_demo(run: Demo) -> int:
    """Run a demo to its end, then sum up. 1 if it broke a promise, 130 if a signal ended it."""
    from tunnel.cli.demo_view import DemoView
    from tunnel.verify.demo.findings import Findings
    from tunnel.verify.demo.processes import DemoFailed

    view, findings = DemoView(), Findings()
    is_complete = False

    async def program() -> None:
        nonlocal is_complete
        with trio.move_on_after(LONGEST) as patience:
            await run(view, findings)
        if patience.cancelled_caught:
            view.summary(findings.lines)
            raise DemoFailed(f"the demo did not end within {LONGEST:g} s")
        is_complete = True

    await run_until_signal(program)
    if not is_complete:
        return INTERRUPTED
    view.summary(findings.lines)
    if findings.failures:
        broken = "; ".join(f"{line.what}: {line.measured}, expected {line.expected}" for line in findings.failures)
        view.end(f"The demo FAILED after {view.elapsed():.0f} s: {broken}", is_good=False)
        return FAILED
    view.end(f"All as promised, in {view.elapsed():.0f} s.", is_good=True)
    return DONE
