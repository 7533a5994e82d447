"""`netcheck`: the NAT in front of this machine."""

from __future__ import annotations

from tunnel.cli.exit_codes import DONE, SERVER_UNREACHABLE
from tunnel.cli.local_node import ask_node
from tunnel.cli.options import NodeOption
from tunnel.cli.output import JsonOption, print_json, print_view
from tunnel.cli.progress import showing_elapsed


async def netcheck(*, as_json: JsonOption = False, node: NodeOption = None) -> int:
    """Check the NAT in front of this machine, with the node that runs here (`up`). Exit code 3 if no server answers."""
    from tunnel.cli.netcheck_view import netcheck_view

    async with showing_elapsed("checking the network, a dozen seconds at most"):
        found = await ask_node(node, "netcheck", {"do": "netcheck"})
    print_json(found) if as_json else print_view(netcheck_view(found))
    return DONE if found["answers"] else SERVER_UNREACHABLE
