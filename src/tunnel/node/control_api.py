"""What the control socket needs of a node: protocols, so that it can be tested without one."""

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
        """The transition."""
        ...


class PingAnswer(Protocol):
    """An answered ping."""

    @property
    def id(self) -> str:
        """The node that answered."""
        ...

    @property
    def rtt(self) -> float:
        """Seconds."""
        ...

    @property
    def path(self) -> PathStatus | None:
        """The path that carried it."""
        ...


class PeerApi(Protocol):
    """One peer of the node."""

    def status(self) -> PeerStatus:
        """Everything known about it."""
        ...


class ForgetResult(Protocol):
    """The result of forgetting a node."""

    @property
    def id(self) -> str:
        """The id of the node."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names that stood for it and are free now."""
        ...

    @property
    def is_gone(self) -> bool:
        """Whether the node was dropped. One that is present stays."""
        ...


class NodeApi(Protocol):
    """What the control socket needs of a node."""

    @property
    def invite(self) -> Invite:
        """The invite of the node's network."""
        ...

    def status(self) -> NodeStatus:
        """The node now."""
        ...

    def peer(self, name: str) -> PeerApi:
        """A peer by name, id or tunnel address. Raises PeerUnreachable if there is none."""
        ...

    def watch(self) -> AsyncIterator[Change]:
        """Every change from now on."""
        ...

    async def ping(self, name: str) -> PingAnswer:
        """Measure one round trip. Raises PeerUnreachable if there is no answer."""
        ...

    def forget(self, wanted: str) -> ForgetResult:
        """Set a node's names free. Raises PeerUnreachable if `wanted` names nobody."""
        ...

    async def netcheck(self) -> NetcheckReport:
        """Survey now."""
        ...
