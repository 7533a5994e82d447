"""What processes use, from /proc: CPU time and memory, with all their descendants.

Memory is told as RSS, in which each process counts the pages that it shares with others, such as libraries, and as PSS,
in which these are divided among all that share them. A node is its process and its UPnP worker: the bound is for the
sum of both in RSS, though each counts the interpreter's library.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory in bytes."""

    now: int
    """VmRSS."""
    peak: int
    """VmHWM, since the process began."""
    proportional: int
    """PSS."""


def with_descendants(pids: Iterable[int]) -> tuple[int, ...]:
    """These processes and all that descend from them and still run, in order of their numbers."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return tuple(sorted(found))


def threads(pids: Iterable[int]) -> tuple[int, ...]:
    """The ids of all threads of these processes and of their descendants."""
    folders = [Path(f"/proc/{pid}/task") for pid in with_descendants(pids)]
    return tuple(sorted(int(entry.name) for folder in folders if folder.exists() for entry in folder.iterdir()))


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes, their descendants, and the children that they have waited for."""
    total = 0
    for pid in with_descendants(pids):
        if (fields := _stat(pid)) is not None:
            total += sum(int(field) for field in fields[11:15])
    return total / _TICKS


def memory(pids: Iterable[int]) -> Memory:
    """The sums over these processes and their descendants."""
    now = peak = proportional = 0
    for pid in with_descendants(pids):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            proportional += status_bytes(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss")
        except OSError:  # it has ended
            continue
        now += status_bytes(status, "VmRSS")
        peak += status_bytes(status, "VmHWM")
    return Memory(now, peak, proportional)


def status_bytes(status: str, field: str) -> int:
    """A size from the text of /proc/PID/status or smaps_rollup; 0 if it has none, as of a process that is ending."""
    for line in status.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def received_bytes(pid: int, interface: str) -> int:
    """What an interface in the network namespace of a process has received: of a TUN, what the process wrote to it."""
    return interface_bytes(Path(f"/proc/{pid}/net/dev").read_text(), interface)


def interface_bytes(table: str, interface: str) -> int:
    """Received bytes from the text of /proc/PID/net/dev. Raises LookupError if there is no such interface."""
    for line in table.splitlines():
        name, _, fields = line.partition(":")
        if name.strip() == interface:
            return int(fields.split()[0])
    raise LookupError(f"no interface {interface}")


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command's name, the state first (proc(5) counts it as the third)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
