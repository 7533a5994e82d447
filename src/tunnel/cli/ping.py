"""`ping`: round trips to a peer through the tunnel."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import trio
from cyclopts import Parameter

from tunnel.cli.exit_codes import DONE, FAILED
from tunnel.cli.local_node import open_node
from tunnel.cli.options import NodeOption
from tunnel.model.errors import PeerUnreachable, SettingsError
from tunnel.model.safe_text import presentable, printable
from tunnel.node.control_client import ControlChannel


async def ping(
    peer: Annotated[str, Parameter(help="Name, id or tunnel address.")],
    /,
    *,
    count: Annotated[int, Parameter(help="How many pings.")] = 3,
    interval: Annotated[float, Parameter(help="Seconds between two pings.")] = 1.0,
    node: NodeOption = None,
) -> int:
    """Measure round trips to a peer through the tunnel. Fails if none is answered, at once where there is no way."""
    if count < 1 or not 0 <= interval <= 3600:
        raise SettingsError("--count is at least 1, --interval is 0 to 3600 s")
    answered, lost = 0, None
    async with open_node(node, f"ping {peer}") as channel:
        await _explain_waiting(channel, peer)
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


async def _explain_waiting(channel: ControlChannel, peer: str) -> None:
    """Say why a first ping may take half a minute: it needs the server, which is not reached."""
    server = (await channel.ask({"do": "status"}))["server"]
    if server["state"] != "registered" and not await _has_path(channel, peer):
        cause = f" ({presentable(server['reason'])})" if server["reason"] else ""
        print(f"no link to the server{cause}: waiting for it, or for a direct path", file=sys.stderr, flush=True)


async def _has_path(channel: ControlChannel, peer: str) -> bool:
    return (await _known(channel, peer)).get("path") is not None


async def _known(channel: ControlChannel, peer: str) -> dict[str, Any]:
    """What `why` says of a peer; empty if there is no such peer."""
    try:
        found: dict[str, Any] = await channel.ask({"do": "why", "peer": peer})
    except PeerUnreachable:
        return {}
    return found


def _way(path: Any) -> str:
    from tunnel.cli.formatting import path_words

    return "unknown path" if path is None else printable(path_words({**path, "rtt_ms": None}))
