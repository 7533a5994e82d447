"""The programs that commands start, each loaded when it is needed. Tests put their fakes here."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from tunnel.embedding import Node
    from tunnel.model.invite import Invite
    from tunnel.model.offload import Offload
    from tunnel.model.settings import NodeSettings, ServerSettings
    from tunnel.network.ports import World
    from tunnel.server.program import ServerReady


def this_machine(state: Path | None, without: frozenset[Offload] = frozenset()) -> World:
    """All ports of this machine. Files are kept in `state`; `without`: offloads that are not used."""
    from tunnel.network.os.world import real_world

    return real_world(state, without)


def guard_memory() -> None:
    """Keep other processes from reading the memory of this one."""
    from tunnel.network.os import process_rights as privileges

    privileges.guard_memory()


def node_here(invite: Invite, settings: NodeSettings, world: World) -> AbstractAsyncContextManager[Node]:
    """A node on this machine. The process keeps only the rights that the node needs."""
    from tunnel.embedding import open_node
    from tunnel.network.os.privileges import RealPrivileges

    folders = [settings.state, settings.control and settings.control.parent]
    mapper = world.port_mapper if settings.port_mapping else None
    world = replace(world, privileges=RealPrivileges([folder for folder in folders if folder is not None], mapper))
    return open_node(invite=invite, name=settings.name, settings=settings, world=world)


async def serve_here(settings: ServerSettings, *, task_status: trio.TaskStatus[ServerReady]) -> None:
    """The server on this machine. The process gives up its rights once its ports are open."""
    from tunnel.network.os.machine import raise_descriptor_limit
    from tunnel.network.os.privileges import RealPrivileges
    from tunnel.server.limits import fit_connections
    from tunnel.server.program import serve

    settings = fit_connections(settings, raise_descriptor_limit())
    folders = [] if settings.state is None else [settings.state]
    world = replace(this_machine(settings.state, settings.without_offloads), privileges=RealPrivileges(folders, None))
    await serve(settings, world, task_status=task_status)
