"""One TCP connection of the kernel, for much data.

trio.SocketStream does the same with four layers more a call, which cost as much as the kernel does.
"""

from __future__ import annotations

import ctypes
import errno
import socket

import trio

from tunnel.network.nowait_stream import NowaitStream

RECEIVE_BYTES = 64 * 1024
"""Read at most unless told otherwise."""
UNSENT = 16 * 1024
"""Bytes in the kernel that are not on the way, above which it takes no more (TCP_NOTSENT_LOWAT)."""
AT_ONCE = 4
"""Reads and writes that need not wait, after which others have their turn."""

_UNSPECIFIED = bytes(16)
"""A struct sockaddr of AF_UNSPEC: to connect to it dissolves a connection (connect(2)), and wakes who waits for it."""
_libc = ctypes.CDLL(None, use_errno=True)


class TcpStream(NowaitStream, trio.abc.HalfCloseableStream):
    """Sends without delay (TCP_NODELAY). One task sends and one receives.

    What need not wait is a checkpoint only each `AT_ONCE` times, but finds a cancelled scope each time.
    """

    def __init__(self, connected: socket.socket, unsent: int = UNSENT) -> None:
        """Takes the socket over. `unsent`: the bytes of UNSENT."""
        self.socket = connected
        self._at_once = 0
        self._is_drained = False
        """Whether the last read took all that had come."""
        self._unsent = b""
        """What `send_nowait` took and the kernel did not."""
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has come; empty at the end."""
        await trio.lowlevel.checkpoint_if_cancelled()
        most = max_bytes or RECEIVE_BYTES
        try:
            received = None if self._is_drained else self._receive(most)
            if received is not None:
                await self._pause()
            while received is None:
                await trio.lowlevel.wait_readable(self.socket)
                received = self._receive(most)
        except OSError as error:
            raise _stream_error(error) from error
        self._is_drained = 0 < len(received) < most
        return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        try:
            sent, has_waited = self._send(data), False
            while sent < len(data):
                await trio.lowlevel.wait_writable(self.socket)
                has_waited = True
                with memoryview(data) as view, view[sent:] as rest:
                    sent += self._send(rest)
        except OSError as error:
            raise _stream_error(error) from error
        if not has_waited:
            await self._pause()

    @property
    def takes_nowait(self) -> bool:
        """Whether all that `send_nowait` took is sent."""
        return not self._unsent

    def send_nowait(self, data: bytes | bytearray | memoryview) -> bool:
        """Send what the kernel takes now."""
        try:
            sent = self._send(data)
        except OSError:
            sent = 0  # the next call of `send_all` fails, too
        if sent < len(data):
            self._unsent = bytes(memoryview(data)[sent:])
        return not self._unsent

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the kernel takes bytes."""
        if self.socket.fileno() < 0:
            raise _stream_error(OSError(errno.EBADF, ""))
        try:
            await trio.lowlevel.wait_writable(self.socket)
        except OSError as error:
            raise _stream_error(error) from error

    async def send_eof(self) -> None:
        """Send no more; the other side reads the end, and may go on sending."""
        if self._unsent:
            await self.send_all(b"")
        await trio.lowlevel.checkpoint()
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise _stream_error(error) from error

    def abort(self) -> None:
        """Break the connection: the other side gets a reset, and who waits here trio.BrokenResourceError."""
        if self.socket.fileno() >= 0:
            _libc.connect(self.socket.fileno(), _UNSPECIFIED, len(_UNSPECIFIED))

    async def aclose(self) -> None:
        """Close; who waits gets trio.ClosedResourceError."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """The same without a checkpoint."""
        if self.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()
            self._is_drained = False  # a read finds it closed; waiting for a closed socket is a ValueError

    def _receive(self, most: int) -> bytes | None:
        try:
            return self.socket.recv(most)
        except BlockingIOError:
            return None

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0

    async def _pause(self) -> None:
        self._at_once += 1
        if self._at_once == AT_ONCE:
            self._at_once = 0
            await trio.lowlevel.cancel_shielded_checkpoint()


def _stream_error(error: OSError) -> Exception:
    if error.errno == errno.EBADF:
        return trio.ClosedResourceError("this side closed the connection")
    return trio.BrokenResourceError(f"the connection broke: {error.strerror}")
