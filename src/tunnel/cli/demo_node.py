"""The node process of the demo: orders on stdin, reports on stdout (`verify/demo/node.py`), the log on stderr."""

from __future__ import annotations

import os

import trio

from tunnel.cli import launch
from tunnel.cli.logs import start_logging
from tunnel.verify.demo.node import run_node


def main() -> None:
    """The process."""
    start_logging("info")
    trio.run(_run)


async def _run() -> None:
    async with trio.lowlevel.FdStream(os.dup(0)) as orders, trio.lowlevel.FdStream(os.dup(1)) as reports:
        await run_node(orders, reports, launch.this_machine(None))


if __name__ == "__main__":
    main()
