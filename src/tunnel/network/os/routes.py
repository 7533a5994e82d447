"""This machine's IPv4 routes and DNS resolvers: what a tunnel must not take over."""

from __future__ import annotations

import ipaddress
import socket
import sys
from contextlib import suppress
from pathlib import Path

from tunnel.model.routes import Route
from tunnel.network.os import netlink

RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""The second is what the first leads to where systemd-resolved listens on loopback."""
_LOCAL_TABLE = 255
_IFF_POINTOPOINT = 0x10


def read_routes(kernel: netlink.Netlink) -> tuple[Route, ...]:
    """The routes of all tables, since other VPNs have their own. Raises OSError."""
    ends: set[int] = set()
    for message in kernel.dump(netlink.GET_LINK, netlink.LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, _, index, flags, _ = netlink.LINK.unpack_from(message.body)
        if flags & _IFF_POINTOPOINT:
            ends.add(index)
    found: dict[Route, None] = {}
    for message in kernel.dump(netlink.GET_ROUTE, netlink.ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
        family, bits, _, _, table, _, _, kind, _ = netlink.ROUTE.unpack_from(message.body)
        attributes = message.attributes(netlink.ROUTE)
        packed = attributes.get(netlink.RTA_DST)
        if family != socket.AF_INET or table == _LOCAL_TABLE or kind != netlink.UNICAST or not bits or packed is None:
            continue
        index = int.from_bytes(attributes.get(netlink.RTA_OIF, b""), sys.byteorder)
        is_shared = index not in ends or netlink.RTA_GATEWAY in attributes
        found[Route(str(ipaddress.ip_network((packed, bits), strict=False)), _name(index), is_shared)] = None
    return tuple(found)


def read_resolvers(files: tuple[Path, ...] = RESOLVERS) -> tuple[str, ...]:
    """The resolvers of the first file; if it names only loopback, also of the second. Unreadable files name none."""
    found: dict[str, None] = {}
    for file in files:
        with suppress(OSError):
            for line in file.read_text(errors="replace").splitlines():
                match line.split():
                    case ["nameserver", host, *_]:
                        with suppress(ValueError):
                            found[str(ipaddress.ip_address(host.partition("%")[0]))] = None
        if any(not ipaddress.ip_address(host).is_loopback for host in found):
            break
    return tuple(found)


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""
