"""The node's end of the process that runs UPnP errands (upnp_worker.py): starts it, and asks it."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from contextlib import suppress

from tunnel.network.os.upnp_call import MAX_LINE, IsAbandoned
from tunnel.network.os.upnp_worker import ABANDONED

PATIENCE = 10.0
"""Seconds that one errand may take."""

_GRACE = 2.0
"""More seconds, in which the process says that an errand has come to its end."""
_LOOK_GAP = 0.1
"""Seconds between looking whether anybody still waits for an errand."""
_PROGRAM = ("-P", "-m", "tunnel.network.os.upnp_worker")
"""Without -P a file in the node's working directory could be run in its place."""


class UpnpClient:
    """`start` it while this process may still become another user; `run` starts it else. It ends with this object."""

    def __init__(self) -> None:
        self._door: socket.socket | None = None
        self._pid = 0

    def __del__(self) -> None:
        self.close()

    def start(self) -> socket.socket:
        """It inherits nothing but a socket, and no terminal's Ctrl-C is for it: the node takes its mappings back then.

        Raises OSError.
        """
        if self._door is not None:
            return self._door
        self._reap()
        door, others = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, *_PROGRAM],
                {},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, others.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, null, 1),
                    (os.POSIX_SPAWN_DUP2, null, 2),
                ],
                setsid=True,
            )
        except BaseException:
            door.close()
            raise
        finally:
            os.close(null)
            others.close()
        self._door = door
        return door

    def run(self, request: bytes, is_abandoned: IsAbandoned) -> bytes:
        """What an errand answers; empty where it came to none. Blocks for PATIENCE and a little at most.

        Raises OSError where there is no such process.
        """
        if is_abandoned():
            return b""
        door = self.start()
        try:
            door.send(f"{PATIENCE}\n".encode() + request)
            ends, is_told = time.monotonic() + PATIENCE + _GRACE, False
            while time.monotonic() < ends:
                if select.select([door], [], [], _LOOK_GAP)[0]:
                    answer = door.recv(MAX_LINE)
                    if not answer:
                        break
                    return answer
                if not is_told and is_abandoned():
                    door.send(ABANDONED)
                    is_told = True
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.close()
        return b""

    def close(self) -> None:
        """It ends by itself then. The next errand starts another."""
        if self._door is not None:
            self._door.close()
            self._door = None
        self._reap()

    def _reap(self) -> None:
        if self._pid:
            with suppress(ChildProcessError):
                self._pid = 0 if os.waitpid(self._pid, os.WNOHANG)[0] else self._pid
