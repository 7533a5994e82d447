"""The programs that the commands start, each loaded when it is first needed. Tests put their fakes here."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from tunnel.embedding import Node
    from tunnel.model.invite import Invite
    from tunnel.model.settings import NodeSettings, ServerSettings
    from tunnel.network.ports import World
    from tunnel.server.program import ServerReady


def this_machine(state: Path | None) -> World:
    """This machine."""
    from tunnel.network.real import real_world

    return real_world(state)


def node_here(invite: Invite, settings: NodeSettings, world: World) -> AbstractAsyncContextManager[Node]:
    """A node on this machine."""
    from tunnel.embedding import open_node

    return open_node(invite=invite, name=settings.name, settings=settings, world=world)


async def serve_here(settings: ServerSettings, *, task_status: trio.TaskStatus[ServerReady]) -> None:
    """The server on this machine."""
    from tunnel.network.real_machine import raise_descriptor_limit
    from tunnel.server.limits import fit_connections
    from tunnel.server.program import serve

    settings = fit_connections(settings, raise_descriptor_limit())
    await serve(settings, this_machine(settings.state), task_status=task_status)
