"""A port that a gateway opened for us, or why none is open."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunnel.model.endpoint import Endpoint


class PortProtocol(Enum):
    """How a gateway is asked for a port."""

    PCP = "pcp"
    """RFC 6887."""
    NAT_PMP = "nat-pmp"
    """RFC 6886."""
    UPNP = "upnp"
    """UPnP Internet Gateway Device."""


@dataclass(frozen=True, slots=True)
class PortMappingStatus:
    """The port mapping of one address family, as it is shown to people."""

    family: str
    """ipv4 or ipv6."""
    state: str
    """The chart's: probing, mapped, renewing, lost, unsupported."""
    protocol: PortProtocol | None = None
    gateway: str | None = None
    external: Endpoint | None = None
    """Where we can be reached, as the gateway says."""
    seconds_left: float | None = None
    """Of the lease; None if there is none, or if it lasts until it is deleted."""
    note: str = ""
    """Why there is no mapping, or why this one helps less than it might."""
