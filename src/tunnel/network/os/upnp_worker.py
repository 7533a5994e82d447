"""The process that calls the gateway's UPnP service: as nobody, without files, one call at a time.

    the node          this process (from the node's start on)         a fork of it, for one call
      | --- patience, request -> |                                          |
      |                          | --- the request ----------------------> | asks the gateway (upnp_call.py)
      | --- abandoned ---------> | --- the end of its pipe --------------> | maps nothing any more, or takes it back
      |                          | <-- the answer, or its end ------------- |
      | <-- answer ------------- |

It is started while the node may still become another user, with an empty environment. It closes what descriptors came
with it, and gives up all rights before the first request, so each fork has none either. When the node's end of the
socket closes, a call under way counts as abandoned, and then this process ends.

Started by upnp_client.py, its SOCK_SEQPACKET socket as stdin, in an interpreter that loads little: it is there as long
as the node. So the socket is only a descriptor here, and each read and write is a packet.
"""

from __future__ import annotations

import os
import select
import signal
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
from tunnel.network.os.upnp_call import MAX_LINE, limit_process, run_call

ABANDONED = b"abandoned"
NOTHING = b"{}"
"""The answer of a call that ended without one."""
MAX_PACKET = 2 * MAX_LINE

_STDERR = 2


def close_inherited() -> None:
    """All but stdin, stdout and stderr: the node may hand on what it inherited itself. Raises OSError without /proc."""
    for number in os.listdir("/proc/self/fd"):
        if int(number) > _STDERR:
            with suppress(OSError):  # that of the folder is closed already
                os.close(int(number))


def give_up_rights() -> None:
    """Raises OSError if neither another user id nor Landlock keeps this process from the node's files."""
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


def serve_calls(channel: int) -> None:
    """Serve calls until the other end is closed."""
    while packet := _receive(channel):
        if packet != ABANDONED:
            patience, _, request = packet.partition(b"\n")
            answer = _run(channel, float(patience), request)
            with suppress(OSError):
                os.write(channel, answer)


def _run(channel: int, patience: float, request: bytes) -> bytes:
    """One call, in a process that has ended when this returns."""
    answer, answering = os.pipe()
    waiting, wait = os.pipe()
    child = os.fork()
    if child == 0:
        for inherited in (channel, answer, wait):
            os.close(inherited)
        try:
            limit_process(patience)
            os.write(answering, run_call(request, lambda: _is_readable(waiting)))
        finally:
            os._exit(0)
    os.close(answering)
    os.close(waiting)
    is_waited_for = True
    try:
        while answer not in select.select([answer, channel] if is_waited_for else [answer], [], [])[0]:
            _receive(channel)  # the call is abandoned, or the node has ended
            is_waited_for = False
            os.close(wait)
        return os.read(answer, MAX_LINE) or NOTHING
    finally:
        if is_waited_for:
            os.close(wait)
        os.close(answer)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _receive(channel: int) -> bytes:
    try:
        return os.read(channel, MAX_PACKET)
    except OSError:
        return b""


def _is_readable(pipe: int) -> bool:
    return bool(select.select([pipe], [], [], 0)[0])


def main() -> None:
    """Give up all rights, and serve calls on stdin. Exits with a reason if it cannot."""
    with suppress(ImportError):
        __import__("miniupnpc")  # while files may be read
    try:
        close_inherited()
        give_up_rights()
    except OSError as error:
        sys.exit(f"UPnP's process cannot give up its rights: {error}")
    serve_calls(sys.stdin.fileno())
