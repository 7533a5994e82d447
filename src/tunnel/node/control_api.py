"""What the control socket needs of a node: a protocol, so that it can be tested without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from tunnel.model.invite import Invite
from tunnel.model.status import Move, NodeStatus, PathStatus, PeerStatus
from tunnel.nat.netcheck_report import NetcheckReport


class Change(Protocol):
    """One transition of one peer."""

    @property
    def peer(self) -> PeerStatus:
        """The peer as it is now."""
        ...

    @property
    def move(self) -> Move:
        """What its chart did."""
        ...


class Echo(Protocol):
    """An answered ping."""

    @property
    def id(self) -> str:
        """Who answered."""
        ...

    @property
    def rtt(self) -> float:
        """Seconds."""
        ...

    @property
    def path(self) -> PathStatus | None:
        """The path that carried it."""
        ...


class Neighbour(Protocol):
    """One peer of the node."""

    def status(self) -> PeerStatus:
        """All there is to know about it."""
        ...


class Freed(Protocol):
    """What became of a node that was to be forgotten."""

    @property
    def id(self) -> str:
        """Whom it was about."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """That stood for it, and are free now."""
        ...

    @property
    def is_gone(self) -> bool:
        """Whether it is known no more; one that is present stays."""
        ...


class ControlledNode(Protocol):
    """What the control socket needs of a node."""

    @property
    def invite(self) -> Invite:
        """Of the network that the node is in."""
        ...

    def status(self) -> NodeStatus:
        """The node now."""
        ...

    def peer(self, name: str) -> Neighbour:
        """A peer by name, id or tunnel address. Raises PeerUnreachable if there is none."""
        ...

    def watch(self) -> AsyncIterator[Change]:
        """Every change from now on."""
        ...

    async def ping(self, name: str) -> Echo:
        """Raises PeerUnreachable when unanswered."""
        ...

    def forget(self, wanted: str) -> Freed:
        """Set a node's names free. Raises PeerUnreachable if nobody is meant."""
        ...

    async def netcheck(self) -> NetcheckReport:
        """Survey again."""
        ...
