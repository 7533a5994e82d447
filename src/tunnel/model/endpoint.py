"""Where a datagram comes from or goes to: an IP address and a port, never a name."""

from __future__ import annotations

import ipaddress
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from tunnel.model.errors import SettingsError

_CARRIER_NAT = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598
_PRIVATE = tuple(
    ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)  # RFC 1918, RFC 4193. `ipaddress.is_private` says more than these, documentation ranges among them.


class Scope(Enum):
    """How far an address reaches."""

    LOOPBACK = "loopback"
    LINK = "link"
    PRIVATE = "private"
    CARRIER = "carrier"
    GLOBAL = "global"


class Endpoint(NamedTuple):
    """A UDP or TCP endpoint: a numeric address and a port. Being a tuple, it goes to `sendto` as it is."""

    host: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        """Whether the address is an IPv6 one."""
        return ":" in self.host

    @property
    def is_wildcard(self) -> bool:
        """Whether a socket bound to it listens on every address of its family."""
        return self.host in ("0.0.0.0", "::")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


@lru_cache(4096)
def scope_of(host: str) -> Scope:
    """How far a numeric address reaches. A zone index (`%eth0`) is ignored."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_loopback:
        return Scope.LOOPBACK
    if address.is_link_local:
        return Scope.LINK
    if address.version == 4 and address in _CARRIER_NAT:
        return Scope.CARRIER
    if any(address in network for network in _PRIVATE if network.version == address.version):
        return Scope.PRIVATE
    return Scope.GLOBAL


@lru_cache(4096)
def packed_host(host: str) -> bytes:
    """4 or 16 bytes of a numeric address, in network order; a zone index is left out. Raises ValueError."""
    return ipaddress.ip_address(host.partition("%")[0]).packed


def without_ipv6_shell(endpoint: Endpoint) -> Endpoint:
    """The IPv4 endpoint inside an IPv4-mapped one (RFC 4291 section 2.5.5.2); any other endpoint unchanged."""
    if not endpoint.is_ipv6:
        return endpoint
    inner = ipaddress.IPv6Address(endpoint.host).ipv4_mapped
    return endpoint if inner is None else Endpoint(str(inner), endpoint.port)


@lru_cache(4096)
def is_usable(endpoint: Endpoint) -> bool:
    """Whether a datagram may be sent there at all: a unicast address and a real port."""
    try:
        address = ipaddress.ip_address(endpoint.host.partition("%")[0])
    except ValueError:
        return False
    if address.is_multicast or address.is_unspecified or str(address) == "255.255.255.255":
        return False
    return 0 < endpoint.port < 65536


def split_host_port(text: str, default_port: int | None = None) -> tuple[str, int]:
    """`host:port`, `[v6]:port`, or `host` where a default port is given. Raises SettingsError."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        port_text = rest[1:] if rest.startswith(":") else ""
        well_formed = bool(bracket) and (rest == "" or rest.startswith(":"))
    elif text.count(":") > 1:
        host, port_text, well_formed = text, "", True
    else:
        host, _, port_text = text.partition(":")
        well_formed = True
    if well_formed and host and not port_text and default_port is not None:
        return host, default_port
    if not well_formed or not host or not port_text.isascii() or not port_text.isdigit() or int(port_text) > 65535:
        raise SettingsError(f"{text!r} is not HOST:PORT (an IPv6 address goes in brackets: [2001:db8::1]:3478)")
    return host, int(port_text)


def parse_endpoint(text: str, default_port: int | None = None) -> Endpoint:
    """A numeric `address:port`. Raises SettingsError for anything else, names included."""
    host, port = split_host_port(text, default_port)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise SettingsError(f"{text!r} is not a numeric ADDRESS:PORT") from None
    return Endpoint(host, port)
