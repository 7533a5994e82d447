"""The process that holds a network namespace of our own, and makes sockets in it.

    the node                                    this process
      | <--- user namespace, network -----------  |   once, at its start; where it fails: the step and the error
      |      namespace, TUN                       |
      | ---- family, type, protocol ------------> |   any number of times, one after the other
      | <--- error number, or 0 and the socket -- |
      | ---- (the end of the socket) -----------> |   it ends

The node needs no right for this: the user namespace is its own, so with the descriptors that it is given it sets up the
interface and binds sockets itself. All that it cannot do is make a socket there. This process gets no secret and no
descriptor but its own, and has an empty environment. Before the first request it gives up all rights but that over the
namespace, and can open no file from then on. If it dies, the namespace lives on with the node's descriptors: another
such process joins it.

Started by namespace_client.py. It must not know Trio, which takes long to load.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from contextlib import suppress

from tunnel.network.os.process_rights import (
    CAP_NET_ADMIN,
    NEW_NETWORK,
    NEW_USER,
    drop_capabilities,
    end_with_parent,
    enter_namespace,
    enter_new_namespaces,
    forbid_files,
    guard_memory,
)

REQUEST = struct.Struct("=iii")
"""Family, type and protocol of a socket."""
ANSWER = struct.Struct("=i")
"""Error number, or 0."""
JOINED = b"joined"
MADE = b"made"
MAKE, JOIN = "make", "join"
"""What to do at the start."""


def make_namespaces(channel: socket.socket, clone_device: str) -> bool:
    """Make the namespaces and open the TUN in them; pass all on. False: a step failed, and is told.

    Programs there run as the user that runs the node. Root without CAP_SETFCAP may not be mapped, and is nobody there.
    """
    uid, gid, step = os.geteuid(), os.getegid(), "unshare"
    opened: list[int] = []
    try:
        enter_new_namespaces()
        step = "map"
        try:
            for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
                _write(f"/proc/self/{file}", text.encode())
        except PermissionError:
            if uid != 0:
                raise
        step = "tun"
        opened += [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("user", "net")]
        opened.append(os.open(clone_device, os.O_RDWR | os.O_NONBLOCK))
    except OSError as error:
        channel.send(f"{step} {error.errno or errno.EIO}".encode())
        return False
    socket.send_fds(channel, [MADE], opened)
    for descriptor in opened:
        os.close(descriptor)
    return True


def join_namespaces(channel: socket.socket) -> bool:
    """Enter namespaces that were made before, and are passed here. False: that failed, and is told."""
    _, namespaces, _, _ = socket.recv_fds(channel, 1, 2)
    try:
        for opened, kind in zip(namespaces, (NEW_USER, NEW_NETWORK), strict=True):
            enter_namespace(opened, kind)
    except OSError as error:
        channel.send(f"join {error.errno or errno.EIO}".encode())
        return False
    for opened in namespaces:
        os.close(opened)
    channel.send(JOINED)
    return True


def give_up_rights() -> None:
    """All but one: over netlink, the maker of a socket must have the right too by which another uses it."""
    os.chdir("/")
    guard_memory()
    drop_capabilities({CAP_NET_ADMIN})
    forbid_files()


def serve_sockets(channel: socket.socket) -> None:
    """Make sockets until the other end is closed."""
    while request := channel.recv(REQUEST.size):
        try:
            made = socket.socket(*REQUEST.unpack(request))
        except OSError as error:
            channel.send(ANSWER.pack(error.errno or errno.EIO))
        else:
            with made:
                socket.send_fds(channel, [ANSWER.pack(0)], [made.fileno()])


def main() -> None:
    """Make namespaces, or join some; then serve."""
    what, clone_device = sys.argv[-2:]
    for inherited in os.listdir("/proc/self/fd"):
        if int(inherited) > 2:
            with suppress(OSError):  # the list's own
                os.close(int(inherited))
    with socket.socket(fileno=0) as channel, suppress(ConnectionError):
        if join_namespaces(channel) if what == JOIN else make_namespaces(channel, clone_device):
            end_with_parent()
            give_up_rights()
            serve_sockets(channel)


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
