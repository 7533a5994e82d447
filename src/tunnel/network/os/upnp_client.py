"""The node's end of the UPnP worker process (upnp_worker.py): starts it, and sends it one call at a time."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from tunnel.network.os.upnp_call import MAX_LINE, IsAbandoned, folder
from tunnel.network.os.upnp_worker import ABANDONED

PATIENCE = 10.0
"""Seconds that one call may take."""

_GRACE = 2.0
"""More seconds, in which the worker reports that a call has ended without an answer."""
_POLL_GAP = 0.1
"""Seconds between two checks whether a call was abandoned."""
_SOURCE = str(Path(__file__).parents[3])
"""Where this program's package lies."""
_PROGRAM = (
    "-I",
    "-S",
    "-c",
    "import sys; sys.path += sys.argv[1:]; from tunnel.network.os.upnp_worker import main; main()",
)
"""Without -I a file in the node's working directory could be run in its place; without -S it takes a megabyte more."""


class UpnpWorkerClient:
    """Call `start` while this process may still become another user; else `run` does. The worker ends with it."""

    def __init__(self) -> None:
        self._channel: socket.socket | None = None
        self._pid = 0

    def __del__(self) -> None:
        self.close()

    def start(self) -> socket.socket:
        """Start the worker, if it does not run yet; returns our socket to it. Raises OSError.

        It keeps nothing but its socket, and is in a session of its own: after Ctrl-C the node still needs it to take
        its mappings back.
        """
        if self._channel is not None:
            return self._channel
        self._reap()
        channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, *_PROGRAM, *filter(None, (_SOURCE, folder()))],
                {},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, null, 1),
                    (os.POSIX_SPAWN_DUP2, null, 2),
                ],
                setsid=True,
            )
        except BaseException:
            channel.close()
            raise
        finally:
            os.close(null)
            theirs.close()
        self._channel = channel
        return channel

    def run(self, request: bytes, is_abandoned: IsAbandoned) -> bytes:
        """The answer to a call; empty if there is none. Blocks for PATIENCE + _GRACE at most.

        Raises OSError if the worker cannot be started.
        """
        if is_abandoned():
            return b""
        channel = self.start()
        try:
            channel.send(f"{PATIENCE}\n".encode() + request)
            ends, is_told = time.monotonic() + PATIENCE + _GRACE, False
            while time.monotonic() < ends:
                if select.select([channel], [], [], _POLL_GAP)[0]:
                    answer = channel.recv(MAX_LINE)
                    if not answer:
                        break
                    return answer
                if not is_told and is_abandoned():
                    channel.send(ABANDONED)
                    is_told = True
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.close()
        return b""

    def close(self) -> None:
        """Close the socket, which ends the worker. The next call starts another."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._reap()

    def _reap(self) -> None:
        if self._pid:
            with suppress(ChildProcessError):
                self._pid = 0 if os.waitpid(self._pid, os.WNOHANG)[0] else self._pid
