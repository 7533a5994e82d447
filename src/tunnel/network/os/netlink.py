"""rtnetlink, as much of it as we need: reads and sets addresses, links and routes (man 7 rtnetlink, RFC 3549).

    | length (4) | type (2) | flags (2) | sequence (4) | port (4) | body: a fixed struct, then attributes ...
    | length (2) | type (2) | value, padded to 4 bytes |

The kernel answers at once, so requests are plain blocking calls of about ten microseconds. Standard library only: the
`ip` command would not inherit a capability that was given to our own program.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from tunnel.network.os.socket_source import HERE, SocketSource

NEW_LINK, DEL_LINK, GET_LINK = 16, 17, 18
NEW_ADDRESS, DEL_ADDRESS, GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DEL_ROUTE, GET_ROUTE = 24, 25, 26

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
CREATE, EXCLUSIVE = 0x400, 0x200
_ERROR, _DONE = 2, 3

GROUPS_OF_CHANGES = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR and IPV6_ROUTE."""

LINK = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type, index, flags, which flags to change."""
ADDRESS = struct.Struct("=BBBBi")
"""struct ifaddrmsg: family, prefix length, flags, scope, index."""
ROUTE = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, prefix lengths of destination and source, service, table, protocol, scope, type, flags."""

IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_MULTIPATH = 1, 4, 5, 6, 7, 9
MAIN_TABLE = 254
IFF_UP = 0x1
UNICAST, LOCAL = 1, 2

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_RECEIVE = 256 * 1024
_ATTRIBUTE_TYPE_MASK = 0x3FFF
NESTED = 0x8000
_SIOCGIFINDEX = 0x8933
_INDEX_REQUEST = struct.Struct("=16si20x")
"""struct ifreq: a name, then a union."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an answer."""

    kind: int
    body: bytes

    def attributes(self, fixed: struct.Struct) -> dict[int, bytes]:
        """What follows the fixed struct, by type."""
        return dict(_attributes(self.body[fixed.size :]))


def attribute(kind: int, value: bytes) -> bytes:
    """One encoded attribute."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def nested(value: bytes) -> dict[int, bytes]:
    """The attributes within an attribute's value, by type."""
    return dict(_attributes(value))


class Netlink:
    """A request socket; use it in a `with` block. It asks for the network namespace of its source."""

    def __init__(self, source: SocketSource = HERE) -> None:
        self._socket = source.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def dump(self, kind: int, body: bytes) -> list[Message]:
        """All objects of a kind. Raises OSError."""
        return list(self._exchange(kind, REQUEST | DUMP, body))

    def ask(self, kind: int, body: bytes) -> Message:
        """One request, one answer. Raises OSError."""
        return next(self._exchange(kind, REQUEST, body))

    def execute(self, kind: int, flags: int, body: bytes) -> None:
        """Change something. Raises OSError with the kernel's reason."""
        for _ in self._exchange(kind, REQUEST | ACK | flags, body):
            pass

    def index_of(self, name: str) -> int:
        """The index of the interface with this name. Raises OSError."""
        _, index = _INDEX_REQUEST.unpack(
            fcntl.ioctl(self._socket, _SIOCGIFINDEX, _INDEX_REQUEST.pack(name.encode(), 0))
        )
        return int(index)

    def _exchange(self, kind: int, flags: int, body: bytes) -> Iterator[Message]:
        self._sequence += 1
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0) + body)
        while True:
            for answer in _messages(self._socket.recv(_RECEIVE)):
                if answer.kind == _DONE:
                    return
                if answer.kind == _ERROR:
                    code = -struct.unpack_from("=i", answer.body)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return
                yield answer


def open_watch(source: SocketSource = HERE) -> socket.socket:
    """A non-blocking socket that becomes readable when links, addresses or routes change."""
    watch = source.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    watch.setblocking(False)
    watch.bind((0, GROUPS_OF_CHANGES))
    return watch


def drain(watch: socket.socket) -> None:
    """Read and discard the notices of a watch."""
    while True:
        try:
            watch.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            continue  # ENOBUFS: more happened than the socket could hold; the next look sees it


def _messages(answer: bytes) -> Iterator[Message]:
    offset = 0
    while offset + _HEADER.size <= len(answer):
        length, kind, *_ = _HEADER.unpack_from(answer, offset)
        yield Message(kind, answer[offset + _HEADER.size : offset + length])
        offset += max(_HEADER.size, length + -length % 4)


def _attributes(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _ATTRIBUTE.size <= len(encoded):
        length, kind = _ATTRIBUTE.unpack_from(encoded, offset)
        yield kind & _ATTRIBUTE_TYPE_MASK, encoded[offset + _ATTRIBUTE.size : offset + length]
        offset += max(_ATTRIBUTE.size, length + -length % 4)
