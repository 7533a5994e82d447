"""What a person sees of a demo: a line for each thing that happens, what it waits for, and a summary at the end.

On a terminal there are colors and a spinner; elsewhere there are plain lines, and nothing is redrawn.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunnel.cli.layout import Trimmed
from tunnel.model.safe_text import printable
from tunnel.model.way import PathKind
from tunnel.verify.demo.findings import Finding

_STYLES = {
    "connected": "green",
    "relayed": "yellow",
    "punching": "magenta",
    "requested": "cyan",
    PathKind.DIRECT: "green",
    PathKind.RELAY_UDP: "yellow",
    PathKind.RELAY_WEBSOCKET: "yellow",
}
_PIPE_WIDTH = 200


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise the error: Rich would raise SystemExit, among tasks that still have to clean up."""
        raise BrokenPipeError


class DemoView:
    """Shows what a demo says (`verify/demo/console.py`). Takes Unix times, shows seconds since the start."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
        self._began = time.time()

    def title(self, text: str) -> None:
        """What this demo is."""
        self._print(Text(text, style="bold"))

    def heading(self, text: str) -> None:
        """A new part begins."""
        self._print(Text(f"\n{text}", style="bold cyan"))

    def say(self, who: str, text: str, at: float | None = None) -> None:
        """Something happened at `who`."""
        self._line(who, Text(printable(text)), at)

    def move(self, node: str, peer: str, source: str, event: str, target: str, at: float) -> None:
        """A peer's chart took a transition."""
        line = Text.assemble(f"chart of {printable(peer)}: ", _word(source), " -> ", _word(target))
        self._line(node, line.append(f"  ({printable(event)})", style="dim"), at)

    def path(self, node: str, peer: str, kind: str | None, at: float) -> None:
        """Data to a peer takes another kind of path."""
        line = Text(f"data to {printable(peer)} goes ")
        line.append("nowhere" if kind is None else f"over {printable(kind)}", style=_STYLES.get(kind or "", "red"))
        self._line(node, line, at)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Say what the demo waits for while the block runs."""
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            self.say("", f"{text} ...")
            yield
            return
        spinner = "dots" if self._console.encoding.startswith("utf") else "line"
        with self._console.status(Text(text, style="dim"), spinner=spinner):
            yield

    def summary(self, lines: list[Finding]) -> None:
        """The table at the end."""
        table = Table("measured", "", "expected", "", box=None, header_style="bold", pad_edge=False)
        for line in lines:
            verdict = {True: Text("ok", style="green"), False: Text("FAILED", style="bold red"), None: Text("")}
            table.add_row(printable(line.what), printable(line.measured), line.expected, verdict[line.holds])
        self.heading("Summary")
        self._console.print(Trimmed(table))

    def end(self, text: str, *, is_good: bool) -> None:
        """The last line."""
        self._print(Text(f"\n{printable(text)}", style="bold green" if is_good else "bold red"))

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.time() - self._began

    def _line(self, who: str, line: Text, at: float | None) -> None:
        since = (time.time() if at is None else at) - self._began
        self._print(Text.assemble((f"{since:6.2f} s  ", "dim"), (f"{printable(who):<8}", "bold"), line))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


def _word(state: str) -> tuple[str, str]:
    return printable(state), _STYLES.get(state, "")
