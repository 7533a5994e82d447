"""`why`: why a peer is reached as it is."""

from __future__ import annotations

import time
from typing import Annotated

from cyclopts import Parameter

from tunnel.cli.exit_codes import DONE
from tunnel.cli.local_node import ask_node
from tunnel.cli.options import NodeOption
from tunnel.cli.output import print_view


async def why(
    peer: Annotated[str, Parameter(help="Name, id or tunnel address.")], /, *, node: NodeOption = None
) -> int:
    """Say why a peer is reached as it is, and what you can do."""
    from tunnel.cli.peer_view import peer_view

    found = await ask_node(node, f"why {peer}", {"do": "why", "peer": peer})
    print_view(peer_view(found, time.time()))
    return DONE
