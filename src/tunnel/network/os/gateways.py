"""The routers of this machine's default routes, and our address toward each, by rtnetlink."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from tunnel.model.endpoint import Scope, scope_of
from tunnel.model.routes import Gateway
from tunnel.network.os import netlink

_DUPLICATE, _DEPRECATED, _TENTATIVE, _TEMPORARY = 0x08, 0x20, 0x40, 0x01
_NEXT_HOP = struct.Struct("=HBBi")
"""struct rtnexthop: length, flags, hops, interface."""


class _Address(NamedTuple):
    network: ipaddress.IPv4Interface | ipaddress.IPv6Interface
    interface: int
    is_temporary: bool


class _Route(NamedTuple):
    metric: int
    gateway: ipaddress.IPv4Address | ipaddress.IPv6Address
    interface: int
    source: ipaddress.IPv4Address | ipaddress.IPv6Address | None


def read_gateways(kernel: netlink.Netlink) -> tuple[Gateway, ...]:
    """The gateways of the main table by metric, IPv4 first. Raises OSError.

    Routes without a gateway (tunnels), and those that we have no address for, are left out.
    """
    addresses = list(_addresses(kernel))
    found: dict[Gateway, None] = {}
    for route in sorted(_default_routes(kernel), key=lambda route: (route.gateway.version, route.metric)):
        own = _own_address(route, addresses)
        if own is not None:
            found[Gateway(_with_zone(route), own)] = None
    return tuple(found)


def _own_address(route: _Route, addresses: list[_Address]) -> str | None:
    """Our address toward the gateway: the route's source, else one of its network, else any; stable ones first."""
    if route.source is not None:
        return str(route.source)
    usable = [
        address
        for address in addresses
        if address.interface == route.interface
        and address.network.version == route.gateway.version
        and (route.gateway.version == 4 or scope_of(str(address.network.ip)) is Scope.GLOBAL)
    ]
    usable.sort(key=lambda address: (route.gateway not in address.network.network, address.is_temporary))
    return str(usable[0].network.ip) if usable else None


def _with_zone(route: _Route) -> str:
    if route.gateway.version == 6 and route.gateway.is_link_local:
        return f"{route.gateway}%{route.interface}"
    return str(route.gateway)


def _addresses(kernel: netlink.Netlink) -> Iterator[_Address]:
    for message in kernel.dump(netlink.GET_ADDRESS, netlink.ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, bits, short_flags, _, index = netlink.ADDRESS.unpack_from(message.body)
        attributes = message.attributes(netlink.ADDRESS)
        flags = int.from_bytes(attributes.get(netlink.IFA_FLAGS, bytes([short_flags])), sys.byteorder)
        packed = attributes.get(netlink.IFA_LOCAL, attributes.get(netlink.IFA_ADDRESS))
        if packed is None or flags & (_TENTATIVE | _DUPLICATE | _DEPRECATED):
            continue
        network = ipaddress.ip_interface((packed, bits))
        yield _Address(network, index, network.version == 6 and bool(flags & _TEMPORARY))


def _default_routes(kernel: netlink.Netlink) -> Iterator[_Route]:
    for message in kernel.dump(netlink.GET_ROUTE, netlink.ROUTE.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)):
        _, destination_bits, _, _, table, _, _, kind, _ = netlink.ROUTE.unpack_from(message.body)
        if destination_bits or kind != netlink.UNICAST or table != netlink.MAIN_TABLE:
            continue
        attributes = message.attributes(netlink.ROUTE)
        metric = int.from_bytes(attributes.get(netlink.RTA_PRIORITY, b""), sys.byteorder)
        interface = int.from_bytes(attributes.get(netlink.RTA_OIF, b""), sys.byteorder)
        preferred = attributes.get(netlink.RTA_PREFSRC)
        gateway = attributes.get(netlink.RTA_GATEWAY)
        if netlink.RTA_MULTIPATH in attributes:
            gateway, interface = _first_hop(attributes[netlink.RTA_MULTIPATH])
        if gateway is not None:
            source = None if preferred is None else ipaddress.ip_address(preferred)
            yield _Route(metric, ipaddress.ip_address(gateway), interface, source)


def _first_hop(hops: bytes) -> tuple[bytes | None, int]:
    """The first gateway and interface of a multipath route."""
    if len(hops) < _NEXT_HOP.size:
        return None, 0
    length, _, _, interface = _NEXT_HOP.unpack_from(hops)
    hop = netlink.Message(netlink.NEW_ROUTE, hops[:length])
    return hop.attributes(_NEXT_HOP).get(netlink.RTA_GATEWAY), interface
