"""`down`: end the node on this machine."""

from __future__ import annotations

import trio

from tunnel.cli import launch
from tunnel.cli.exit_codes import DONE
from tunnel.cli.local_node import open_node
from tunnel.cli.options import ControlOptions, NodeOption
from tunnel.model.errors import SettingsError, TunnelError, Unreachable
from tunnel.model.safe_text import printable
from tunnel.node.control_client import NoNode, open_control

PATIENCE = 15.0
"""Seconds: the node says farewell, and asks gateways to close its ports, in bounded time."""
_GAP = 0.1


async def down(*, node: NodeOption = None) -> int:
    """End the node on this machine. It says farewell to its peers and the server."""
    async with open_node(node, "down") as channel:
        try:
            name = (await channel.ask({"do": "down"}))["name"]
        except SettingsError as error:
            raise _refusal(error) from None
    with trio.move_on_after(PATIENCE):
        await _wait_ended(node or ControlOptions())
        print(f"{printable(name)} is down")
        return DONE
    raise Unreachable(f"{printable(name)} was told to end, but has not ended within {PATIENCE:g} s")


async def _wait_ended(node: ControlOptions) -> None:
    """The node removes its socket last, when everything else is done."""
    controls = launch.this_machine(None).controls
    while True:
        try:
            async with open_control(controls, node.socket):
                pass
        except NoNode:
            return
        await trio.sleep(_GAP)


def _refusal(error: SettingsError) -> TunnelError:
    """A node of an older version does not know this request."""
    if str(error).startswith("`do` is one of"):
        return TunnelError("that node is of an older version and cannot be told to end: send it SIGTERM")
    return TunnelError(str(error))
