"""A port that a gateway granted, and what every protocol's client can do about one."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from tunnel.model.endpoint import Endpoint, Scope, is_usable, scope_of
from tunnel.model.errors import Refused
from tunnel.model.port_mapping import PortProtocol
from tunnel.model.routes import Gateway

LOWEST_PORT = 1024
"""Lower ports belong to system services: gateways refuse them, and one kind hangs when asked by NAT-PMP."""


@dataclass(frozen=True, slots=True)
class PortLease:
    """The external port that leads to our `internal_port` until the lease ends."""

    protocol: PortProtocol
    gateway: Gateway
    internal_port: int
    external: Endpoint
    since: float
    """Trio's time when it was granted or last renewed."""
    lifetime: float
    """Seconds; math.inf: until it is deleted."""
    epoch: int | None = None
    """The gateway's age at that moment, if the protocol tells it."""

    @property
    def ends(self) -> float:
        """Trio's time when the gateway will forget it."""
        return self.since + self.lifetime

    @property
    def is_permanent(self) -> bool:
        """Whether it lasts until it is deleted."""
        return self.lifetime == math.inf

    @property
    def is_public(self) -> bool:
        """Whether the whole internet can send there. If not, the gateway is behind another NAT, or it lies."""
        address = ipaddress.ip_address(self.external.host)
        return scope_of(self.external.host) is Scope.GLOBAL and not (address.is_reserved or address.is_unspecified)


def check_outside(external: Endpoint) -> None:
    """Raise Refused if nobody but this machine, or nobody at all, could send there, whatever protocol named it.

    A private address is no such one: who is within the same network may use it.
    """
    if not is_usable(external) or scope_of(external.host) is Scope.LOOPBACK:
        raise Refused("no_external_address", f"the gateway names {external.host}, which leads to nobody")


def is_contradicted(external: Endpoint, seen: Iterable[Endpoint]) -> bool:
    """Whether STUN servers see us, but none at the address that a gateway names: it is behind another NAT, or lies.

    IPv6 is not translated, so it is never contradicted.
    """
    hosts = {endpoint.host for endpoint in seen if not endpoint.is_ipv6}
    return not external.is_ipv6 and bool(hosts) and external.host not in hosts


class PortClient(Protocol):
    """The client of one protocol. Each method raises Unreachable (no answer) or Refused."""

    async def map_port(
        self, gateway: Gateway, internal_port: int, lifetime: float, held: PortLease | None = None
    ) -> PortLease:
        """Map a UDP port, or renew the lease that is `held`, at the same external port if possible."""
        ...

    async def unmap_port(self, lease: PortLease) -> None:
        """Delete the mapping."""
        ...

    async def holds_port(self, lease: PortLease) -> bool:
        """Whether the gateway still has it, at the same external endpoint. Raises Unreachable, never Refused."""
        ...
