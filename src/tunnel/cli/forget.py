"""`forget`: release a peer's name."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from tunnel.cli.exit_codes import DONE
from tunnel.cli.local_node import ask_node
from tunnel.cli.options import NodeOption
from tunnel.model.safe_text import printable


async def forget(
    peer: Annotated[str, Parameter(help="Name, id or tunnel address.")],
    /,
    *,
    node: NodeOption = None,
) -> int:
    """Release a peer's name, so that the next node that uses it keeps it: for a machine that was set up again."""
    freed = await ask_node(node, f"forget {peer}", {"do": "forget", "peer": peer})
    names = ", ".join(map(printable, freed["names"]))
    stays = "" if freed["gone"] else "; it is present, and keeps a name that no other node uses"
    print(f"{printable(freed['id'])}: {f'{names} is free now' if names else 'it had no name here'}{stays}")
    return DONE
