"""What one node of a demo says of its peer: told to the stage, and waited for by the story."""

from __future__ import annotations

import time

from tunnel.machines.notifier import Pulse
from tunnel.verify.demo.console import Stage

GAVE_UP = ("punching", "relayed")
"""The states of a peer whose direct path was lost."""


class PeerView:
    """Kept up to date by `note_move` and `note_path`, whoever hears of them. Times are Unix times."""

    def __init__(self, node: str, stage: Stage) -> None:
        self.node = node
        self.state = "detecting"
        self.since = time.time()
        """When the chart came into its state."""
        self.path: str | None = None
        self.is_muted = False
        """Whether what happens is kept from the stage."""
        self._stage = stage
        self._pulse = Pulse()

    def note_move(self, peer: str, source: str, event: str, target: str, at: float) -> None:
        """The chart took a transition."""
        if source != target:
            self.state, self.since = target, at
        if not self.is_muted:
            self._stage.move(self.node, peer, source, event, target, at)
        self._pulse.beat()

    def note_path(self, peer: str, kind: str | None, at: float) -> None:
        """Data goes another way, if that kind of path is another one."""
        if kind == self.path:
            return
        self.path = kind
        if not self.is_muted:
            self._stage.path(self.node, peer, kind, at)
        self._pulse.beat()

    async def wait_direct(self) -> None:
        """Return when data goes over a direct path, and the chart says so too."""
        await self._pulse.wait_until(lambda: self.state == "connected" and self.path == "direct")

    async def wait_given_up(self) -> None:
        """Return when the chart no longer trusts the direct path."""
        await self._pulse.wait_until(lambda: self.state in GAVE_UP)


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
