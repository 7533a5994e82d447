"""Control sockets: Unix sockets that only their owner and root can use.

The socket file gets mode 0600 before anybody can connect, and the kernel is still asked for each caller's user. A lock
file beside it shows whether its listener is running: the kernel releases the lock with the process, however that ends.
So a socket file left behind by a killed process is told from one in use.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import socket
import stat
import struct
from pathlib import Path

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.network.accept_backoff import AcceptBackoff
from tunnel.network.os.sockets import describe
from tunnel.network.os.streams import accept_patiently
from tunnel.network.ports import Sighting

BACKLOG = 64
_NAME, _FOLDER = "control.sock", "p2ptunnel-trio"
"""The default name of a socket, and of its folder."""
_LISTENING = 0x10000
"""__SO_ACCEPTCON in the flags of /proc/net/unix."""
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: process, user, group


class RealControls:
    """Unix sockets of the kernel."""

    async def open_listener(self, path: Path) -> RealControlListener:
        """Listen at a path. Raises DeviceError if another process listens there, or the path cannot be used."""
        await trio.lowlevel.checkpoint()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _take_lock(path)
        except OSError as error:
            raise DeviceError(f"the control socket {path} cannot be made: {error.strerror}") from error
        try:
            return RealControlListener(path, lock, _bind(path))
        except OSError as error:
            os.close(lock)
            raise DeviceError(f"the control socket {path} cannot be made: {describe(error)}") from error
        except BaseException:
            os.close(lock)
            raise

    async def open_stream(self, path: Path) -> trio.abc.Stream:
        """Connect to a path. Raises Unreachable."""
        opened = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            await opened.connect(str(path))
        except OSError as error:
            opened.close()
            raise Unreachable(f"nobody answers at {path}: {error.strerror or error}") from error
        except BaseException:
            opened.close()
            raise
        return trio.SocketStream(opened)

    def sightings(self) -> tuple[Sighting, ...]:
        """Of this network namespace: the kernel tells every user which paths have a listener."""
        try:
            lines = Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines()[1:]
        except OSError:
            return ()
        listeners = (fields for fields in (line.split(maxsplit=7) for line in lines) if _is_listener(fields))
        paths = sorted({Path(fields[7]) for fields in listeners})
        return tuple(Sighting(path, _owner(path), _may_speak(path)) for path in paths if _is_nodes(path))


class RealControlListener:
    """Accepts callers of the same user, and root."""

    def __init__(self, path: Path, lock: int, listening: socket.socket) -> None:
        self._path = path
        self._lock = lock
        self._socket = trio.socket.from_stdlib_socket(listening)
        self._closed = False
        self._backoff = AcceptBackoff("commands")

    @property
    def local(self) -> Endpoint:
        """The path, with port 0."""
        return Endpoint(str(self._path), 0)

    async def accept(self) -> tuple[trio.abc.Stream, Endpoint]:
        """The next caller; its endpoint is the path and its process id."""
        while True:
            accepted, _ = await accept_patiently(self._socket, self._backoff)
            credentials = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            process, user, _ = _CREDENTIALS.unpack(credentials)
            if user in (0, os.geteuid()):
                return trio.SocketStream(accepted), Endpoint(str(self._path), process)
            accepted.close()

    async def aclose(self) -> None:
        """Stop listening and remove the socket file."""
        if not self._closed:
            self._closed = True
            self._socket.close()
            self._path.unlink(missing_ok=True)
            os.close(self._lock)
        await trio.lowlevel.checkpoint()


def _take_lock(path: Path) -> int:
    """A descriptor that holds the lock of a path."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise DeviceError(f"somebody listens at {path} already: stop that process, or choose another path") from None
    except BaseException:
        os.close(lock)
        raise
    return lock


def _bind(path: Path) -> socket.socket:
    """Bind while holding the lock; the mode is set before the first caller can connect."""
    if os.path.lexists(path):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise DeviceError(f"{path} exists and is no socket: remove it, or choose another path")
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _is_listener(fields: list[str]) -> bool:
    return len(fields) == 8 and fields[7].startswith("/") and bool(int(fields[3], 16) & _LISTENING)


def _is_nodes(path: Path) -> bool:
    """Whether the path is a node's: in a folder of ours, or beside a lock of ours."""
    return path.name == _NAME and (path.parent.name == _FOLDER or os.path.lexists(f"{path}.lock"))


def _may_speak(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=True)


def _owner(path: Path) -> str:
    """The owner of the socket, or of the innermost folder that can be seen."""
    for place in (path, *path.parents):
        try:
            user = place.stat().st_uid
        except OSError:
            continue
        try:
            return pwd.getpwuid(user).pw_name
        except KeyError:
            return str(user)
    return "somebody"
