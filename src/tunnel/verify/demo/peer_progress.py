"""What one node of a demo says of its peer: told to the stage, and waited for by the story."""

from __future__ import annotations

import time

from tunnel.cli.demo_view import DemoConsole
from tunnel.machines.notifier import Notifier

GAVE_UP = ("punching", "relayed")
"""The states of a peer whose direct path was lost."""


class PeerView:
    """Kept up to date by `note_move` and `note_path`, whoever hears of them. Times are Unix times."""

    def __init__(self, node: str, console: DemoConsole) -> None:
        self.node = node
        self.state = "detecting"
        self.since = time.time()
        """When the chart came into its state."""
        self.path: str | None = None
        self.is_muted = False
        """Whether what happens is kept from the stage."""
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
        """Data goes another way, if that kind of path is another one."""
        if kind == self.path:
            return
        self.path = kind
        if not self.is_muted:
            self._console.path(self.node, peer, kind, at)
        self._notifier.notify()

    async def wait_direct(self) -> None:
        """Return when data goes over a direct path, and the chart says so too."""
        await self._notifier.wait_until(lambda: self.state == "connected" and self.path == "direct")

    async def wait_given_up(self) -> None:
        """Return when the chart no longer trusts the direct path."""
        await self._notifier.wait_until(lambda: self.state in GAVE_UP)


async def wait_direct(*views: PeerView) -> float:
    """Return when both ends go direct; the Unix time since when both charts say so."""
    for view in views:
        await view.wait_direct()
    return max(view.since for view in views)


async def wait_given_up(*views: PeerView) -> float:
    """Return when both ends gave the direct path up; the Unix time since when."""
    for view in views:
        await view.wait_given_up()
    return max(view.since for view in views)
