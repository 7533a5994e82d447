"""Which node a name stands for: the first that bore it, until the user says otherwise.

A node chooses its own name, and any member may choose the same one. So the first node that is met under a name keeps
it, here and on disk, also while it is away; a later one is known by its id. `forget` sets names free. Names of nodes
that this machine never spoke to have less room: keys cost a member nothing, and nobody here means those names.

    file names.NETWORK:    NODE_ID NAME        one a line, the oldest first
                           ? NODE_ID NAME      of a node that this machine never spoke to
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.errors import DeviceError
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.node_name import folded
from tunnel.network.ports import Store

log = logging.getLogger(__name__)

MAX_NAMES = 4096
MAX_UNSPOKEN = 1024
"""Of these, names of nodes that this machine never spoke to. A new one replaces the oldest whose node is away.

The others are kept, MAX_NAMES - MAX_UNSPOKEN at most: making room among them would let a member push names out.
"""
MAX_NAMES_PER_NODE = 4
"""A node that renames itself again and again gives up its own oldest name."""
WRITE_GAP = 5.0
"""Seconds between two writes at least: members choose how often names change."""
_LINE = re.compile(r"(\? )?([a-z2-7]{26}) (.+)")


def names_file(network: NetworkId) -> str:
    """The file that holds them."""
    return f"names.{network}"


@dataclass(frozen=True, slots=True)
class Taken:
    """Whether a name stands for the node that wanted it; as a truth value, too."""

    is_held: bool
    lost: tuple[NodeId, str] | None = None
    """The node, and its name, that had to go for it."""

    def __bool__(self) -> bool:
        return self.is_held


class NameHolders:
    """Ask `holder_of`, take and free names with `take` and `free`; `run` keeps the file up to date."""

    def __init__(self, store: Store, network: NetworkId) -> None:
        self._store = store
        self._file = names_file(network)
        self._holders: dict[str, tuple[NodeId, str]] = {}
        self._names: dict[NodeId, list[str]] = {}
        self._unspoken: dict[str, None] = {}
        """Keys of names whose nodes this machine never spoke to, the oldest first."""
        self._is_kept = True
        self._notifier = Notifier()
        self._load()

    def __len__(self) -> int:
        return len(self._holders)

    def holder_of(self, name: str) -> NodeId | None:
        """The node that this name stands for."""
        holder = self._holders.get(folded(name))
        return None if holder is None else holder[0]

    def names_of(self, node: NodeId) -> tuple[str, ...]:
        """The names that stand for this node, the oldest first."""
        return tuple(self._holders[key][1] for key in self._names.get(node, ()))

    def take(self, name: str, node: NodeId, *, is_present: Callable[[NodeId], bool] = lambda _node: False) -> Taken:
        """Take a free name for a node. Nodes that are present (`is_present`) lose none of theirs for it."""
        key = folded(name)
        if key in self._holders:
            return Taken(self._holders[key][0] == node)
        own = self._names.get(node, [])
        was_spoken_to = any(each not in self._unspoken for each in own)
        if len(own) >= MAX_NAMES_PER_NODE:
            self._release(own[0])
        lost = None
        if len(self._unspoken) >= MAX_UNSPOKEN or len(self._holders) >= MAX_NAMES:
            lost = self._drop_oldest(is_present)
            if lost is None:
                return Taken(False)
        self._add(key, name, node)
        self._unspoken[key] = None
        if was_spoken_to:
            self.note_spoken(node)
        self._note_change()
        return Taken(True, lost)

    def note_spoken(self, node: NodeId) -> None:
        """This machine speaks to a node: its names are meant from now on, and kept if there is room."""
        for key in self._names.get(node, ()):
            if key in self._unspoken and len(self._holders) - len(self._unspoken) < MAX_NAMES - MAX_UNSPOKEN:
                del self._unspoken[key]
                self._note_change()

    def free(self, node: NodeId) -> tuple[str, ...]:
        """Set all names of a node free: the next that bears one of them keeps it. Which they were."""
        names = self.names_of(node)
        for key in tuple(self._names.get(node, ())):
            self._release(key)
        if names:
            self._note_change()
        return names

    def save(self) -> None:
        """Write what is not written yet. If the store cannot be written, the log warns and the next start forgets."""
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
                await self._notifier.wait_until(lambda: not self._is_kept)
                self.save()
                await trio.sleep(WRITE_GAP)
        finally:
            self.save()

    def _lines(self) -> Iterator[str]:
        for key, (node, name) in self._holders.items():
            yield f"{'? ' if key in self._unspoken else ''}{node} {name}\n"

    def _load(self) -> None:
        """Lines that make no sense are left out, and counted in the log."""
        damaged = 0
        for line in (self._store.read(self._file) or b"").decode(errors="replace").split("\n"):
            match = _LINE.fullmatch(line)
            key = "" if match is None else folded(match[3])
            if match is not None and key not in self._holders and len(self._holders) < MAX_NAMES:
                self._add(key, match[3], NodeId.parse(match[2]))
                if match[1]:
                    self._unspoken[key] = None
            elif line:
                damaged += 1
        if damaged:
            log.warning("names file has damaged lines, which are ignored file=%s lines=%d", self._file, damaged)

    def _drop_oldest(self, is_present: Callable[[NodeId], bool]) -> tuple[NodeId, str] | None:
        """Give up the oldest name of a node that is away and that this machine never spoke to; None: there is none."""
        for key in self._unspoken:
            node, name = self._holders[key]
            if not is_present(node):
                self._release(key)
                return node, name
        return None

    def _add(self, key: str, name: str, node: NodeId) -> None:
        self._holders[key] = node, name
        self._names.setdefault(node, []).append(key)

    def _release(self, key: str) -> None:
        node, _ = self._holders.pop(key)
        self._unspoken.pop(key, None)
        self._names[node].remove(key)
        if not self._names[node]:
            del self._names[node]

    def _note_change(self) -> None:
        self._is_kept = False
        self._notifier.notify()
