"""The node's end of the process that holds a network namespace of our own (namespace_child.py).

none --make--> running --the process dies--> ended --rejoin--> running
                                               |  the namespace, its interface and all sockets live on, held by our
                                               |  descriptors; no socket can be made
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import trio

from tunnel.model.errors import DeviceDenied, DeviceError
from tunnel.network.os.namespace_child import ANSWER, JOIN, JOINED, MADE, MAKE, REQUEST
from tunnel.network.os.namespace_remedies import why_not
from tunnel.network.os.tun_descriptor import CLONE_DEVICE

START_PATIENCE = 15.0
"""Seconds that the process gets to start."""
PATIENCE = 2.0
"""Seconds for which we block at most, for a socket or for another process. A socket takes some 50 microseconds."""

_SOURCE = Path(__file__).parents[3]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from tunnel.network.os.namespace_child import main; main()"
"""Run with -I and -S: it sees no environment, no folder of the user's, and none of the installed packages."""


class Namespace:
    """A user and a network namespace of our own, and the process in them. `make()` first."""

    def __init__(self, clone_device: str = CLONE_DEVICE) -> None:
        self._clone_device = clone_device
        self._channel: socket.socket | None = None
        self._pid = 0
        self._namespaces: tuple[int, ...] = ()

    def __del__(self) -> None:
        self.close()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Of the user namespace and the network namespace: a process of this user may join them, in that order."""
        return self._namespaces

    @property
    def pid(self) -> int:
        """Of the process; 0 while there is none."""
        return self._pid

    @property
    def is_ended(self) -> bool:
        """Whether the process has ended; then no socket can be made."""
        if self._channel is None:
            return True
        if not _is_readable(self._channel):
            return False
        self._end()
        return True

    async def make(self) -> int:
        """Make the namespaces; returns the descriptor of a TUN in them. Raises DeviceDenied with the remedy."""
        channel = self._start(MAKE)
        try:
            with trio.move_on_after(START_PATIENCE) as patience:
                await trio.lowlevel.wait_readable(channel)
        except BaseException:
            self._end()
            raise
        message, opened = b"", list[int]()
        if not patience.cancelled_caught:
            message, opened, _, _ = socket.recv_fds(channel, 64, 3, socket.MSG_CMSG_CLOEXEC)
        if message != MADE:
            self._end()
            told = "its process did not answer" if patience.cancelled_caught else _told(message, self._clone_device)
            raise DeviceDenied(f"no network namespace of our own: {told}")
        self._namespaces = tuple(opened[:2])
        return opened[2]

    def rejoin(self) -> None:
        """Start another process in the same namespaces. Blocks for PATIENCE at most. Raises DeviceError."""
        self._end()
        channel = self._start(JOIN)
        try:
            socket.send_fds(channel, [b"\0"], self._namespaces)
            message = channel.recv(64)
        except OSError as error:
            message = b""
            told = str(error)
        else:
            told = _told(message, self._clone_device)
        if message != JOINED:
            self._end()
            raise DeviceError(f"no process can join the network namespace: {told}")

    def open_socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        """A socket in the network namespace. Raises OSError."""
        if self._channel is None:
            raise OSError("the process that makes sockets in the network namespace has ended")
        try:
            self._channel.send(REQUEST.pack(family, kind, protocol))
            message, opened, _, _ = socket.recv_fds(self._channel, ANSWER.size, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:  # it has died, or hangs
            message, opened = b"", []
        if len(message) != ANSWER.size:
            self._end()
            raise OSError("the process that makes sockets in the network namespace has ended")
        (number,) = ANSWER.unpack(message)
        if number:
            raise OSError(number, os.strerror(number))
        return socket.socket(family, kind, protocol, fileno=opened[0])

    async def wait_ended(self) -> None:
        """Return when the process has ended."""
        while not self.is_ended:
            assert self._channel is not None
            with suppress(trio.ClosedResourceError):
                await trio.lowlevel.wait_readable(self._channel)

    def close(self) -> None:
        """End the process, and the namespace with the last of its sockets."""
        self._end()
        for opened in self._namespaces:
            os.close(opened)
        self._namespaces = ()

    def _start(self, what: str) -> socket.socket:
        """Start a process, and return our socket to it. Raises DeviceError.

        It inherits nothing but its socket, and is in a session of its own: Ctrl-C is for the node.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_SOURCE), what, self._clone_device]
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        actions = [(os.POSIX_SPAWN_DUP2, opened, at) for at, opened in enumerate((theirs.fileno(), null, null))]
        try:
            self._pid = os.posix_spawn(sys.executable, argv, {}, file_actions=actions, setsid=True)
        except OSError as error:
            ours.close()
            raise DeviceDenied(f"no process can be started ({sys.executable}: {error.strerror})") from error
        finally:
            os.close(null)
            theirs.close()
        ours.settimeout(PATIENCE)
        self._channel = ours
        return ours

    def _end(self) -> None:
        if self._channel is not None:
            with suppress(RuntimeError):  # outside of Trio nobody waits
                trio.lowlevel.notify_closing(self._channel)
            self._channel.close()
            self._channel = None
        if self._pid:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            self._pid = 0


def _is_readable(channel: socket.socket) -> bool:
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    return bool(poller.poll(0))


def _told(message: bytes, clone_device: str) -> str:
    match message.decode("ascii", "replace").split():
        case [step, number] if number.isdecimal():
            return why_not(step, int(number), clone_device)
        case _:
            return "its process ended"
