"""Runs commands in network namespaces through iproute2. Knows nothing of sites and NAT."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tunnel.model.errors import DeviceError

_NAMED = Path("/run/netns")  # where iproute2 keeps the namespaces that have names
_PACKAGES = "iproute2, nftables, conntrack, tcpdump and miniupnpd-nftables"
PATIENCE = 120.0
"""Seconds that a command gets to its end."""
_DEATH_PATIENCE = 3.0  # seconds that killed processes get to end


def check_privilege(tools: Iterable[str] = ("ip", "nft")) -> None:
    """Raises DeviceError, with the remedy, unless this process can build namespaces."""
    if not sys.platform.startswith("linux"):
        raise DeviceError("a netlab is made of Linux network namespaces: run it on Linux")
    if os.geteuid() != 0:
        raise DeviceError("a netlab makes network namespaces: run it as root")
    for tool in tools:
        if shutil.which(tool) is None:
            raise DeviceError(f"a netlab needs the command `{tool}`: install {_PACKAGES}")


def command_in(namespace: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` in a namespace. It execs, so the process id is the program's own."""
    return ["ip", "netns", "exec", namespace, *argv]


def run(argv: Sequence[str], script: str = "") -> str:
    """Run a command with `script` on stdin and return its output. Raises DeviceError with its error output.

    A program that has not ended after PATIENCE is killed.
    """
    try:
        done = subprocess.run(argv, input=script, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"`{' '.join(argv)}` did not end within {PATIENCE:g} s") from error
    if done.returncode != 0:
        raise DeviceError(f"`{' '.join(argv)}` failed: {done.stderr.strip()}\n{script}".rstrip())
    return done.stdout


def run_scripts(scripts: Mapping[str, str]) -> None:
    """Run one shell script in each namespace, all at once. Raises DeviceError with the first error output."""
    started = {}
    for namespace, script in scripts.items():
        process = subprocess.Popen(
            command_in(namespace, ["sh", "-e"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started[namespace] = process
        assert process.stdin is not None
        process.stdin.write(script)
        process.stdin.close()
        process.stdin = None
    complaints = {namespace: process.communicate()[1] for namespace, process in started.items()}
    for namespace, process in started.items():
        if process.returncode != 0:
            raise DeviceError(f"{namespace}: {complaints[namespace].strip()}\n{scripts[namespace]}")


def ip_batch(*lines: str) -> str:
    """The lines of shell that pass these commands to one `ip`."""
    return _heredoc("ip -batch -", "\n".join(lines))


def nft_batch(rules: str) -> str:
    """The lines of shell that load these rules as one transaction."""
    return _heredoc("nft -f -", rules)


def _heredoc(command: str, text: str) -> str:
    return f"{command} <<'END'\n{text.strip()}\nEND\n"


def named_like(prefix: str) -> list[str]:
    """The namespaces of this machine whose names begin with `prefix`."""
    return sorted(path.name for path in _NAMED.glob(f"{prefix}*"))


def add_namespaces(names: Sequence[str]) -> None:
    """Make empty namespaces."""
    run(["ip", "-batch", "-"], "".join(f"netns add {name}\n" for name in names))


def remove_namespaces(names: Sequence[str]) -> None:
    """Kill all processes in these namespaces and remove them with everything in them; missing ones are skipped."""
    present = [name for name in names if (_NAMED / name).exists()]
    _kill_processes_in(present)
    if present:
        run(["ip", "-force", "-batch", "-"], "".join(f"netns del {name}\n" for name in present))


def _kill_processes_in(names: Sequence[str]) -> None:
    patience_ends = time.monotonic() + _DEATH_PATIENCE
    while pids := _processes_in(names):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > patience_ends:
            return
        time.sleep(0.005)


def _processes_in(names: Sequence[str]) -> list[int]:
    """The running processes whose network is one of these namespaces."""
    wanted = {(status.st_dev, status.st_ino) for status in (os.stat(_NAMED / name) for name in names)}
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            network = os.stat(entry / "ns" / "net")
        except OSError:  # it has ended, or is a zombie without a network
            continue
        if (network.st_dev, network.st_ino) in wanted:
            found.append(int(entry.name))
    return found
