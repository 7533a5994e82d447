"""How a command reaches the node of this machine, and what it says where none answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tunnel.cli import launch
from tunnel.cli.default_paths import ROOTS_CONTROL
from tunnel.cli.options import ControlOptions
from tunnel.model.errors import Unreachable
from tunnel.network.ports import Sighting
from tunnel.node.control_client import ASK_PATIENCE, ControlChannel, NoNode, open_control


@asynccontextmanager
async def open_node(node: ControlOptions | None, command: str) -> AsyncIterator[ControlChannel]:
    """Connect to the node. `command` is what was typed, to say how another user's node is asked.

    Raises Unreachable with the remedy.
    """
    path = (node or ControlOptions()).socket
    controls = launch.this_machine(None).controls
    try:
        async with open_control(controls, path) as channel:
            yield channel
    except NoNode as error:
        is_forbidden = isinstance(error.__cause__, PermissionError)
        raise Unreachable(no_node(path, controls.sightings(), command, is_forbidden=is_forbidden)) from error


async def ask_node(
    node: ControlOptions | None, command: str, request: Mapping[str, Any], *, patience: float = ASK_PATIENCE
) -> Any:
    """One request, one result. Raises Unreachable (no node), or the error that the node answered with."""
    async with open_node(node, command) as channel:
        return await channel.ask(request, patience=patience)


def no_node(path: Path, sightings: Sequence[Sighting], command: str, *, is_forbidden: bool = False) -> str:
    """Why no node answers at a path, and how to reach one that runs. To start one is suggested where none does."""
    owner = next((seen.owner for seen in sightings if seen.path == path), None)
    if is_forbidden or owner is not None:
        return f"the node at {path} is not yours: {_as_owner(owner or 'root', path, command)}"
    nothing = f"no node answers at {path}"
    if not sightings and command == "down":
        return f"{nothing}: none of yours runs, so there is none to end; or name its socket with --control"
    if not sightings:
        return f"{nothing}: start one with `p2ptunnel-trio up`, or name its socket with --control"
    yours = [seen.path for seen in sightings if seen.is_open]
    if yours:
        more = f" (and {len(yours) - 1} more run here)" if len(yours) > 1 else ""
        return f"{nothing}; the node that runs here is asked with --control {yours[0]}{more}"
    first = sightings[0]
    return f"{nothing}; a node of {first.owner} runs on this machine: {_as_owner(first.owner, first.path, command)}"


def as_user(owner: str, command: str) -> str:
    """The command that asks another user's node."""
    user = "" if owner == "root" else f" -u {owner}"
    return f"`sudo{user} p2ptunnel-trio {command}`"


def _as_owner(owner: str, path: Path, command: str) -> str:
    where = "" if path == ROOTS_CONTROL else f" --control {path}"
    return f"ask it with {as_user(owner, command + where)}"
