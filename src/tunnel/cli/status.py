"""`status`: the node on this machine, its link to the server and its peers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tunnel.cli.exit_codes import DONE
from tunnel.cli.local_node import ask_node, open_node
from tunnel.cli.options import NodeOption
from tunnel.cli.output import JsonOption, print_json, print_json_line, stdout_console
from tunnel.cli.status_words import is_idle

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REFRESH = 1.0
"""Seconds between two redraws when nothing changes."""


async def status(
    *,
    as_json: JsonOption = False,
    watch: Annotated[bool, Parameter(help="Keep running, and show every change as it happens.")] = False,
    node: NodeOption = None,
) -> int:
    """Show the node, its server link and its peers."""
    if not watch:
        found = await ask_node(node, "status", {"do": "status"})
        print_json(found) if as_json else stdout_console().print(_status_view(found))
        return DONE
    with nullcontext(print_json_line) if as_json else _live_view() as show:
        async with open_node(node, "status") as channel:
            news = await channel.ask({"do": "watch"} if as_json else {"do": "watch", "every": REFRESH})
            while True:
                show(news["status"])
                news = await channel.receive()


def _status_view(found: Any) -> RenderableType:
    from tunnel.cli.layout import Trimmed
    from tunnel.cli.status_view import status_view

    return Trimmed(status_view(found, time.time()))


@contextmanager
def _live_view() -> Iterator[Callable[[Any], None]]:
    """A function that shows a status: on a terminal it replaces the last one, elsewhere it follows."""
    console = stdout_console()
    if not console.is_terminal or console.is_dumb_terminal:
        yield _Changes(console)
        return
    from rich.live import Live

    from tunnel.cli.layout import Clipped

    with Live(console=console, auto_refresh=False) as live:
        yield lambda found: live.update(Clipped(_status_view(found)), refresh=True)


class _Changes:
    """Shows a status where nothing can be replaced: only if more has changed in it than the time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: Any = None

    def __call__(self, found: Any) -> None:
        lasting = {
            **found,
            "node": {**found["node"], "port_mappings": list(map(_lasting, found["node"]["port_mappings"]))},
            "peers": [{**peer, "idle_s": is_idle(peer)} for peer in found["peers"]],
        }
        if lasting != self._shown:
            self._shown = lasting
            self._console.print(_status_view(found))


def _lasting(mapping: dict[str, Any]) -> dict[str, Any]:
    """A port mapping without the seconds that it has left."""
    return {**mapping, "lease_s": None}
