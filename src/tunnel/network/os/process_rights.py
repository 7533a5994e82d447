"""Gives up for good what this process may do: capabilities(7), memory dumps (prctl(2)), files (landlock(7)).

Linux only, by libc's own functions. It holds for the calling thread and those that it starts later, so call it before
there are others. Nothing here raises if the kernel lacks a feature: then less is given up.

The UPnP worker process uses it too: what it imports stays in memory as long as a node runs, so it is little, and not
Trio.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
from collections.abc import Collection
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

CAP_DAC_OVERRIDE, CAP_SETGID, CAP_SETUID, CAP_NET_ADMIN = 1, 6, 7, 12
"""To use any user's files; to change the group and the user; to set up interfaces and routes."""
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
"""CLONE_NEWUSER and CLONE_NEWNET: kinds of namespaces."""
NOBODY = 65534
"""The user and group that own nothing."""

_DEATH_SIGNAL, _SET_DUMPABLE, _BOUND_READ, _BOUND_DROP, _SET_NO_NEW_PRIVILEGES, _AMBIENT = 1, 4, 23, 24, 38, 47
_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION = 0x20080522
_CAPABILITIES = struct.Struct("=6I")
"""Effective, permitted, inheritable, the lower 32 bits of each; then the upper ones."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""System calls of Landlock; the same numbers on all architectures."""
_ASK_VERSION = 1
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1, 1 << 1, 1 << 2, 1 << 3
_CHANGE_FOLDER = sum(1 << bit for bit in range(4, 13))
"""To create or remove anything in a folder."""
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_SINCE = {_REFER: 2, _TRUNCATE: 3}
"""Rights that Landlock knows only since that ABI version."""
_WRITES = _WRITE_FILE | _CHANGE_FOLDER | _REFER | _TRUNCATE

_libc = ctypes.CDLL(None, use_errno=True)


def guard_memory() -> None:
    """Let no debugger of this user read our memory, no core file hold it, and no program that we start gain rights."""
    _control(_SET_NO_NEW_PRIVILEGES, 1)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _control(_SET_DUMPABLE, 0)


def drop_capabilities(keep: Collection[int] = ()) -> None:
    """Drop all capabilities but these, and let programs that we start inherit none."""
    _control(_AMBIENT, _AMBIENT_CLEAR_ALL)
    number = 0
    while _control(_BOUND_READ, number) >= 0:
        _control(_BOUND_DROP, number)  # fails without CAP_SETPCAP: then `guard_memory` leaves nothing to gain
        number += 1
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0))
    found = ctypes.create_string_buffer(_CAPABILITIES.size)
    if _libc.capget(header, found) != 0:
        return
    _, low, _, _, high, _ = _CAPABILITIES.unpack(found.raw)
    kept = (low | high << 32) & sum(1 << capability for capability in keep)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    _libc.capset(header, ctypes.create_string_buffer(_CAPABILITIES.pack(low, low, 0, high, high, 0)))
    _control(_SET_DUMPABLE, 0)  # the kernel resets it when rights change


def become_nobody() -> None:
    """Become `nobody` if we are root. Raises OSError if the kernel refuses."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def enter_new_namespaces() -> None:
    """Enter a user namespace and a network namespace of our own. Raises OSError if that is forbidden.

    In it this process has all rights over them, and none over anything else (user_namespaces(7)).
    """
    _check(_libc.unshare(ctypes.c_int(NEW_USER | NEW_NETWORK)))


def enter_namespace(opened: int, kind: int) -> None:
    """Enter the namespace behind a descriptor. Raises OSError."""
    _check(_libc.setns(ctypes.c_int(opened), ctypes.c_int(kind)))


def end_with_parent() -> None:
    """Let the kernel end this process when the thread that started it ends."""
    _control(_DEATH_SIGNAL, signal.SIGKILL)


def forbid_files() -> bool:
    """Forbid this process to open files. False: the kernel cannot enforce it."""
    return _restrict(_EXECUTE | _READ_FILE | _READ_FOLDER | _WRITES, {})


def forbid_writes(but: Collection[Path], programs: Collection[Path] = ()) -> bool:
    """Forbid writing except to these files and in these folders, and starting programs except these.

    False as for `forbid_files`.
    """
    return _restrict(_EXECUTE | _WRITES, {**dict.fromkeys(programs, _EXECUTE), **dict.fromkeys(but, _WRITES)})


def _restrict(handled: int, allowed: dict[Path, int]) -> bool:
    version = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_ASK_VERSION))
    if version < 1:
        return False
    handled &= ~sum(right for right, since in _SINCE.items() if version < since)
    rules = _call(_CREATE_RULESET, struct.pack("=Q", handled), ctypes.c_size_t(8), ctypes.c_uint(0))
    if rules < 0:
        return False
    try:
        for path, rights in allowed.items():
            _allow(rules, path, rights & handled)
        return bool(_libc.syscall(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint(0)) == 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _WRITE_FILE | _TRUNCATE | _EXECUTE
        rule = struct.pack("=Qi", rights, opened)
        _libc.syscall(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint(0))
    finally:
        os.close(opened)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _call(number: int, *arguments: object) -> int:
    return int(_libc.syscall(number, *arguments))


def _control(option: int, argument: int) -> int:
    return int(_libc.prctl(option, ctypes.c_ulong(argument), *[ctypes.c_ulong(0)] * 3))
