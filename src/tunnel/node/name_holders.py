"""Which node a name stands for: the first that bore it, until the user says otherwise.

A name is its bearer's own word, and any member may say it. So the first node that is met under a name keeps it, here
and on disk, also while it is away; whoever bears the name too is known by his id. `forget` sets names free.

    file names.NETWORK:    NODE_ID NAME        one a line, the oldest first
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import trio

from tunnel.machines.pulse import Pulse
from tunnel.model.errors import DeviceError
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.node_name import folded
from tunnel.network.ports import Store

log = logging.getLogger(__name__)

MAX_NAMES = 4096
"""When so many names are taken, new ones are nobody's: making room would let a member push others' names out."""
MAX_NAMES_PER_NODE = 4
"""A node that renames itself again and again gives up its own oldest name."""
WRITE_GAP = 5.0
"""Seconds between two writes at least: members choose how often names change."""
_LINE = re.compile(r"([a-z2-7]{26}) (.+)")


def names_file(network: NetworkId) -> str:
    """The file that holds them."""
    return f"names.{network}"


class NameHolders:
    """Ask `holder_of`, take and free names with `take` and `free`; `run` keeps the file up to date."""

    def __init__(self, store: Store, network: NetworkId) -> None:
        self._store = store
        self._file = names_file(network)
        self._holders: dict[str, tuple[NodeId, str]] = {}
        self._names: dict[NodeId, list[str]] = {}
        self._is_kept = True
        self._pulse = Pulse()
        self._load()

    def __len__(self) -> int:
        return len(self._holders)

    @property
    def is_full(self) -> bool:
        """Whether new names find no room."""
        return len(self._holders) >= MAX_NAMES

    def holder_of(self, name: str) -> NodeId | None:
        """The node that this name stands for."""
        holder = self._holders.get(folded(name))
        return None if holder is None else holder[0]

    def names_of(self, node: NodeId) -> tuple[str, ...]:
        """The names that stand for this node, the oldest first."""
        return tuple(self._holders[key][1] for key in self._names.get(node, ()))

    def take(self, name: str, node: NodeId) -> bool:
        """Take a free name for a node. Whether the name stands for that node now."""
        key = folded(name)
        if key in self._holders:
            return self._holders[key][0] == node
        own = self._names.get(node, [])
        if len(own) >= MAX_NAMES_PER_NODE:
            self._release(own[0])
        if self.is_full:
            return False
        self._add(key, name, node)
        self._note_change()
        return True

    def free(self, node: NodeId) -> tuple[str, ...]:
        """Set all names of a node free: the next that bears one of them keeps it. Which they were."""
        names = self.names_of(node)
        for key in tuple(self._names.get(node, ())):
            self._release(key)
        if names:
            self._note_change()
        return names

    def save(self) -> None:
        """Write now what is not written yet. A store that cannot be written costs a warning, and the next start."""
        if self._is_kept:
            return
        self._is_kept = True
        try:
            self._store.write(self._file, "".join(self._lines()).encode())
        except DeviceError as error:
            log.warning("names are not kept for the next start error=%s", error)

    async def run(self) -> None:
        """Write each change soon, and the last one at the end."""
        try:
            while True:
                await self._pulse.wait_until(lambda: not self._is_kept)
                self.save()
                await trio.sleep(WRITE_GAP)
        finally:
            self.save()

    def _lines(self) -> Iterator[str]:
        for node, name in self._holders.values():
            yield f"{node} {name}\n"

    def _load(self) -> None:
        """What a line says that makes no sense is left out, and told."""
        damaged = 0
        for line in (self._store.read(self._file) or b"").decode(errors="replace").split("\n"):
            match = _LINE.fullmatch(line)
            if match is not None and folded(match[2]) not in self._holders and not self.is_full:
                self._add(folded(match[2]), match[2], NodeId.parse(match[1]))
            elif line:
                damaged += 1
        if damaged:
            log.warning("names file has damaged lines, which are ignored file=%s lines=%d", self._file, damaged)

    def _add(self, key: str, name: str, node: NodeId) -> None:
        self._holders[key] = node, name
        self._names.setdefault(node, []).append(key)

    def _release(self, key: str) -> None:
        node, _ = self._holders.pop(key)
        self._names[node].remove(key)
        if not self._names[node]:
            del self._names[node]

    def _note_change(self) -> None:
        self._is_kept = False
        self._pulse.beat()
