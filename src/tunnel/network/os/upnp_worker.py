"""The process that runs errands to the gateway's UPnP service: as nobody, without files, one errand at a time.

    the node          this process (from the node's start on)         a fork of it, for one errand
      | --- patience, request -> |                                          |
      |                          | --- the request ----------------------> | asks the gateway (upnp_call.py)
      | --- abandoned ---------> | --- the end of its pipe --------------> | maps nothing any more, or takes it back
      |                          | <-- the answer, or its end ------------- |
      | <-- answer ------------- |

It is started while the node may still become another user, with an empty environment and no descriptor but its own, and
reads nothing of the node's: it gives up all rights before the first request, and so does each fork with it. The end of
the socket is the end of the node: what is under way counts as abandoned, and then this process ends.

Started as `python -m tunnel.network.os.upnp_worker`, its SOCK_SEQPACKET socket as stdin.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import sys
from contextlib import suppress

from tunnel.network.os.process_rights import (
    CAP_SETGID,
    CAP_SETUID,
    become_nobody,
    drop_capabilities,
    forbid_files,
    guard_memory,
)
from tunnel.network.os.upnp_call import MAX_LINE, limit_process, run_errand

ABANDONED = b"abandoned"
NOTHING = b"{}"
"""The answer of an errand that came to none."""
MAX_PACKET = 2 * MAX_LINE


def give_up_rights() -> None:
    """Raises OSError where neither another user nor the kernel keeps us from the node's files."""
    os.chdir("/")
    guard_memory()
    drop_capabilities((CAP_SETGID, CAP_SETUID))
    try:
        become_nobody()
    except OSError:
        drop_capabilities()
        if not forbid_files():
            raise
    drop_capabilities()
    forbid_files()


def serve_errands(door: socket.socket) -> None:
    """Until the other end is closed."""
    while packet := _receive(door):
        if packet != ABANDONED:
            patience, _, request = packet.partition(b"\n")
            answer = _run(door, float(patience), request)
            with suppress(OSError):
                door.send(answer)


def _run(door: socket.socket, patience: float, request: bytes) -> bytes:
    """One errand, in a process that has ended when this returns."""
    answer, answering = os.pipe()
    waiting, wait = os.pipe()
    errand = os.fork()
    if errand == 0:
        for inherited in (door.fileno(), answer, wait):
            os.close(inherited)
        try:
            limit_process(patience)
            os.write(answering, run_errand(request, lambda: _is_readable(waiting)))
        finally:
            os._exit(0)
    os.close(answering)
    os.close(waiting)
    is_waited_for = True
    try:
        while answer not in select.select([answer, door.fileno()] if is_waited_for else [answer], [], [])[0]:
            _receive(door)  # it is abandoned, or nobody is there any more
            is_waited_for = False
            os.close(wait)
        return os.read(answer, MAX_LINE) or NOTHING
    finally:
        if is_waited_for:
            os.close(wait)
        os.close(answer)
        with suppress(ProcessLookupError):
            os.kill(errand, signal.SIGKILL)
        os.waitpid(errand, 0)


def _receive(door: socket.socket) -> bytes:
    try:
        return door.recv(MAX_PACKET)
    except OSError:
        return b""


def _is_readable(pipe: int) -> bool:
    return bool(select.select([pipe], [], [], 0)[0])


if __name__ == "__main__":
    with suppress(ImportError):
        importlib.import_module("miniupnpc")  # while files may be read
    try:
        give_up_rights()
    except OSError as error:
        sys.exit(f"UPnP's process cannot give up its rights: {error}")
    with socket.socket(fileno=0) as opened:
        serve_errands(opened)
