"""Where a node's interface is: what takes its IP packets, and has its TCP and UDP."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class InterfaceKind(Enum):
    """The value is the name in `status`."""

    KERNEL = "kernel"
    """A TUN interface of this machine, for all its programs. Making one needs CAP_NET_ADMIN."""
    NAMESPACE = "namespace"
    """A TUN interface in a network namespace of the node's own, if the kernel lets ordinary users have one."""
    PYTHON = "python"
    """None: the node's own program takes the packets."""


class Userspace(Enum):
    """Which interface a node without privileges has. The value is that of `--userspace`."""

    AUTO = "auto"
    """The first that this machine allows."""
    NAMESPACE = "namespace"
    PYTHON = "python"


@dataclass(frozen=True, slots=True)
class InterfaceStatus:
    """The interface that a node has."""

    kind: InterfaceKind
    name: str
    """Empty for kind PYTHON."""
    reason: str | None = None
    """Why it is not of a kind that comes before, with the remedy; None if it is of the first that was wanted."""
