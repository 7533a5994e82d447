"""How far one node of a demo has come with its peer: shown on the console, and waited for."""

from __future__ import annotations

import time

from tunnel.machines.notifier import Notifier
from tunnel.verify.demo.console import DemoConsole

GAVE_UP = ("punching", "relayed")
"""The states of a peer whose direct path was lost."""


class PeerProgress:
    """`note_move` and `note_path` keep it up to date. Times are Unix times."""

    def __init__(self, node: str, console: DemoConsole) -> None:
        self.node = node
        self.state = "detecting"
        self.since = time.time()
        """When the chart entered its state."""
        self.path: str | None = None
        self.is_muted = False
        """Whether the console is told nothing."""
        self._console = console
        self._notifier = Notifier()

    def note_move(self, peer: str, source: str, event: str, target: str, at: float) -> None:
        """The chart took a transition."""
        if source != target:
            self.state, self.since = target, at
        if not self.is_muted:
            self._console.move(self.node, peer, source, event, target, at)
        self._notifier.notify()

    def note_path(self, peer: str, kind: str | None, at: float) -> None:
        """Data takes this kind of path. Nothing happens if it did so before."""
        if kind == self.path:
            return
        self.path = kind
        if not self.is_muted:
            self._console.path(self.node, peer, kind, at)
        self._notifier.notify()

    async def wait_direct(self) -> None:
        """Return when data takes a direct path, and the chart says so too."""
        await self._notifier.wait_until(lambda: self.state == "connected" and self.path == "direct")

    async def wait_given_up(self) -> None:
        """Return when the chart no longer trusts the direct path."""
        await self._notifier.wait_until(lambda: self.state in GAVE_UP)


async def wait_direct(*both: PeerProgress) -> float:
    """Return when both ends are direct: the Unix time since when both charts say so."""
    for one in both:
        await one.wait_direct()
    return max(one.since for one in both)


async def wait_given_up(*both: PeerProgress) -> float:
    """Return when both ends have given the direct path up: the Unix time since when."""
    for one in both:
        await one.wait_given_up()
    return max(one.since for one in both)
