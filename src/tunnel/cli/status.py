"""`status`, `why`, `ping`, `netcheck`: ask the node on this machine over its control socket."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import trio
from cyclopts import Parameter

from tunnel.cli.exit_codes import DONE, FAILED, SERVER_UNREACHABLE
from tunnel.cli.local_node import ask_node, open_node
from tunnel.cli.options import Asking, Flat
from tunnel.cli.progress import telling_time
from tunnel.cli.status_words import is_idle
from tunnel.model.errors import PeerUnreachable, SettingsError
from tunnel.model.safe_text import presentable, printable
from tunnel.node.control_client import ControlChannel

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REFRESH = 1.0
"""Seconds between two redraws when nothing changes."""

JsonOption = Annotated[bool, Parameter(name="--json", help="Print JSON (docs/status.md), for scripts.")]
AskingOption = Annotated[Asking | None, Flat]


async def status(
    *,
    as_json: JsonOption = False,
    watch: Annotated[bool, Parameter(help="Go on, and show every change as it comes.")] = False,
    asking: AskingOption = None,
) -> int:
    """Show the node, its server link and its peers."""
    if not watch:
        found = await ask_node(asking, "status", {"do": "status"})
        _print_json(found) if as_json else _console().print(_status_view(found))
        return DONE
    with nullcontext(_print_line) if as_json else _pictures() as show:
        async with open_node(asking, "status") as channel:
            news = await channel.ask({"do": "watch"} if as_json else {"do": "watch", "every": REFRESH})
            while True:
                show(news["status"])
                news = await channel.receive()


async def why(
    peer: Annotated[str, Parameter(help="Name, id or tunnel address.")], /, *, asking: AskingOption = None
) -> int:
    """Say why a peer is reached as it is, and what you can do."""
    from tunnel.cli.peer_view import peer_view

    found = await ask_node(asking, f"why {peer}", {"do": "why", "peer": peer})
    _print(peer_view(found, time.time()))
    return DONE


async def ping(
    peer: Annotated[str, Parameter(help="Name, id or tunnel address.")],
    /,
    *,
    count: Annotated[int, Parameter(help="How many pings.")] = 3,
    interval: Annotated[float, Parameter(help="Seconds between two.")] = 1.0,
    asking: AskingOption = None,
) -> int:
    """Measure the way to a peer through the tunnel. Fails if no ping is answered, at once if there is no way at all."""
    if count < 1 or not 0 <= interval <= 3600:
        raise SettingsError("--count is at least 1, --interval is 0 to 3600 s")
    answered, lost = 0, None
    async with open_node(asking, f"ping {peer}") as channel:
        await _tell_what_is_waited_for(channel, peer)
        for turn in range(count):
            if turn:
                await trio.sleep(interval)
            try:
                echo = await channel.ask({"do": "ping", "peer": peer})
            except PeerUnreachable as error:
                if not answered and not (found := await _known(channel, peer)).get("path"):
                    see = f"; see `p2ptunnel-trio why {peer}`" if found else ""
                    raise PeerUnreachable(f"{error}{see}") from error
                lost = error
                print(f"{printable(peer)}: {presentable(str(error))}", flush=True)
            else:
                answered += 1
                print(f"{printable(peer)}: {echo['rtt_ms']:.1f} ms over {_way(echo['path'])}", flush=True)
    if lost is not None:
        print(f"{count - answered} of {count} unanswered", flush=True)
    return DONE if answered else FAILED


async def netcheck(*, as_json: JsonOption = False, asking: AskingOption = None) -> int:
    """Look at the NAT in front of this machine, with the node that runs here (`up`). 3 if nobody answers."""
    from tunnel.cli.netcheck_view import netcheck_view

    async with telling_time("looking at the network, a dozen seconds at most"):
        found = await ask_node(asking, "netcheck", {"do": "netcheck"})
    _print_json(found) if as_json else _print(netcheck_view(found))
    return DONE if found["answers"] else SERVER_UNREACHABLE


async def _tell_what_is_waited_for(channel: ControlChannel, peer: str) -> None:
    """A first ping without the server may take half a minute: nobody shall wonder why."""
    server = (await channel.ask({"do": "status"}))["server"]
    if server["state"] != "registered" and not await _has_path(channel, peer):
        cause = f" ({presentable(server['reason'])})" if server["reason"] else ""
        print(f"no link to the server{cause}: waiting for it, or for a direct path", file=sys.stderr, flush=True)


async def _has_path(channel: ControlChannel, peer: str) -> bool:
    return (await _known(channel, peer)).get("path") is not None


async def _known(channel: ControlChannel, peer: str) -> dict[str, Any]:
    """What `why` says of it; empty where nobody is called so."""
    try:
        found: dict[str, Any] = await channel.ask({"do": "why", "peer": peer})
    except PeerUnreachable:
        return {}
    return found


def _way(path: Any) -> str:
    from tunnel.cli.peer_view import path_words

    return "unknown path" if path is None else printable(path_words({**path, "rtt_ms": None}))


def _status_view(found: Any) -> RenderableType:
    from tunnel.cli.layout import Trimmed
    from tunnel.cli.status_view import status_view

    return Trimmed(status_view(found, time.time()))


@contextmanager
def _pictures() -> Iterator[Callable[[Any], None]]:
    """A function that shows a status: over the last one on a terminal, below it elsewhere."""
    console = _console()
    if not console.is_terminal or console.is_dumb_terminal:
        yield _Changes(console)
        return
    from rich.live import Live

    from tunnel.cli.layout import Clipped

    with Live(console=console, auto_refresh=False) as live:
        yield lambda found: live.update(Clipped(_status_view(found)), refresh=True)


class _Changes:
    """Shows a status where nothing can be drawn over: only when more than the passing of time has changed in it."""

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


def _print(view: RenderableType) -> None:
    from tunnel.cli.layout import Trimmed

    _console().print(Trimmed(view))


def _console() -> Console:
    from rich.console import Console

    from tunnel.cli.layout import PIPE_WIDTH

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2).replace("\x7f", "\\u007f"))


def _print_line(document: Any) -> None:
    print(json.dumps(document).replace("\x7f", "\\u007f"), flush=True)
