"""This machine's addresses and routers if netlink is forbidden (in a sandbox, on Android): by ioctl and from /proc.

It tells less than netlink: no notice of changes, so the caller has to look again, and no IPv6 router. What cannot be
read is left out: a sandbox may hide /proc too.
"""

from __future__ import annotations

import array
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from tunnel.model.routes import Gateway

_SIOCGIFCONF, _SIOCGIFFLAGS = 0x8912, 0x8913
_IFF_UP = 0x1
_REQUEST = 24 + 2 * struct.calcsize("P")
"""Bytes of struct ifreq: a name of 16, then a union."""
_MOST_INTERFACES = 1024
_TENTATIVE, _DUPLICATE = 0x40, 0x08
_RTF_GATEWAY = 0x2


def read_addresses(proc: Path = Path("/proc/net")) -> tuple[str, ...]:
    """Numeric unicast addresses of all interfaces that are up, sorted, without zones."""
    return tuple(sorted({*(address for _, address in _ipv4()), *_ipv6(proc / "if_inet6")}))


def read_gateways(proc: Path = Path("/proc/net")) -> tuple[Gateway, ...]:
    """The IPv4 routers of the default routes, by metric."""
    own = dict(reversed(list(_ipv4())))
    routes = []
    for fields in _lines(proc / "route"):
        match fields:
            case [interface, "00000000", gateway, flags, _, _, metric, "00000000", *_] if int(flags, 16) & _RTF_GATEWAY:
                packed = bytes.fromhex(gateway)[::-1]
                routes.append((int(metric), str(ipaddress.IPv4Address(packed)), own.get(interface)))
    return tuple(Gateway(gateway, address) for _, gateway, address in sorted(routes) if address is not None)


def _ipv4() -> Iterator[tuple[str, str]]:
    """(interface, address) of each that is up. An alias has a name of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        requests = array.array("B", bytes(_REQUEST * _MOST_INTERFACES))
        address, _ = requests.buffer_info()
        try:
            answer = fcntl.ioctl(asking, _SIOCGIFCONF, struct.pack("iP", len(requests), address))
        except OSError:
            return
        length, _ = struct.unpack("iP", answer)
        for offset in range(0, length, _REQUEST):
            name = requests[offset : offset + 16].tobytes()
            try:
                flags = fcntl.ioctl(asking, _SIOCGIFFLAGS, name + bytes(_REQUEST - 16))
            except OSError:
                continue  # it has gone in the meantime
            if struct.unpack_from("=H", flags, 16)[0] & _IFF_UP:
                packed = requests[offset + 20 : offset + 24].tobytes()
                yield name.partition(b"\0")[0].decode(errors="replace"), str(ipaddress.IPv4Address(packed))


def _ipv6(file: Path) -> Iterator[str]:
    for address, _, _, _, flags, *_ in _lines(file):
        if not int(flags, 16) & (_TENTATIVE | _DUPLICATE):
            yield str(ipaddress.IPv6Address(bytes.fromhex(address)))


def _lines(file: Path) -> Iterator[list[str]]:
    try:
        text = file.read_text()
    except OSError:
        return
    for line in text.splitlines():
        yield line.split()
