"""The lab for callers that run Trio: building and removing happen in a worker thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from tunnel.verify.netlab.lab import Lab
from tunnel.verify.netlab.ledger import STATE
from tunnel.verify.netlab.sites import SiteSpec


@asynccontextmanager
async def open_lab(*specs: SiteSpec, state: Path = STATE) -> AsyncIterator[Lab]:
    """A lab with these sites for as long as the block runs. Raises DeviceError and SettingsError like `Lab`.

    Run programs with `trio.run_process(lab.command(host, argv))`, and the lab's own calls, which block for some
    milliseconds each, with `trio.to_thread.run_sync`.
    """
    lab = await trio.to_thread.run_sync(partial(Lab, *specs, state=state))
    try:
        yield lab
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(lab.close)
