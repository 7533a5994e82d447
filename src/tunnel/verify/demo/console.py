"""Where a demo reports what happens. The command line shows it (`cli/demo_view.py`); this floor draws nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class DemoConsole(Protocol):
    """What a demo says, in the order in which it happens. Times are Unix times; None means now."""

    def title(self, text: str) -> None:
        """What this demo is."""
        ...

    def heading(self, text: str) -> None:
        """A new part begins."""
        ...

    def say(self, who: str, text: str, at: float | None = None) -> None:
        """Something happened at `who`."""
        ...

    def move(self, node: str, peer: str, source: str, event: str, target: str, at: float) -> None:
        """A peer's chart took a transition."""
        ...

    def path(self, node: str, peer: str, kind: str | None, at: float) -> None:
        """Data to a peer takes another kind of path; None: no path at all."""
        ...

    def waiting(self, text: str) -> AbstractContextManager[None]:
        """Say what the demo waits for while the block runs."""
        ...
