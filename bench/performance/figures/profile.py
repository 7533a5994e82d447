"""Where the time of one TCP stream goes: samples of all cores by `perf`, sorted into a few heaps.

Values, shares of all samples that were not idle: `seal` (ciphers of the tunnel's processes), `own` (the rest of
their code outside the kernel, an interpreter's included), `copies` (the kernel's copies and checksums for them),
`kernel` (the rest of its work for them), `streams` (the two ends of the TCP stream, kernel included) and `rest`
(everything else on the machine). `cores` is how many cores were busy, which needs a sample rate that is kept.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.performance.figures.tcp import WARM_UP
from bench.performance.iperf import transfer
from bench.performance.peers.tunnel import Tunnel
from bench.performance.processes import threads
from bench.performance.stage import Stage

from tunnel.model.errors import DeviceError

HEAPS = ("seal", "own", "copies", "kernel", "streams", "rest")
RATE = 499
"""Samples of each core in a second."""
_KERNEL = re.compile(r"^\[(kernel|guest)|^\[?k\]?$|vmlinux|\.ko")
_COPY = re.compile(r"copy|memcpy|memset|memmove|rep_movs|csum|clear_page", re.I)
_SEAL = re.compile(r"chacha|poly1305|aes|gcm|ghash|blowfish|twofish|sha256|EVP_|cipher", re.I)
_SEAL_OBJECT = re.compile(r"libcrypto|_rust\.abi3|libgcrypt")
_IDLE = ("swapper",)


class Sample(NamedTuple):
    """Some samples of one place."""

    hits: int
    command: str
    thread: int
    """What perf calls a pid."""
    object: str
    symbol: str


@dataclass(frozen=True, slots=True)
class Profile:
    """Needs the command `perf` (Debian's linux-perf)."""

    name: str = "profile"

    def measure(self, stage: Stage, tunnel: Tunnel, seconds: float) -> dict[str, float]:
        """One run. Raises DeviceError."""
        file = stage.folder / "perf.data"
        way = (stage.lab, stage.home, stage.office, tunnel.address)
        with transfer(*way, seconds + 2 * WARM_UP) as run:
            time.sleep(WARM_UP)
            _perf("record", "-a", "-F", str(RATE), "-o", str(file), "--", "sleep", f"{seconds:g}")
            run.finish()
        options = ("--stdio", "--no-children", "-n", "-s", "comm,pid,dso,sym", "-t", "|", "-i", str(file))
        text = _perf("report", *options)
        file.unlink()
        return heaps(list(samples(text)), threads((*tunnel.end_pids, *tunnel.server_pids)), seconds)


def samples(report: str) -> Iterator[Sample]:
    """The lines of `perf report -n -s comm,pid,dso,sym -t '|'`."""
    for line in report.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) >= 6 and not line.startswith("#"):
            _, count, command, process, place, symbol, *_ = fields
            yield Sample(int(count), command, int(process.partition(":")[0]), place, symbol)


def heaps(found: Collection[Sample], own: Collection[int], seconds: float) -> dict[str, float]:
    """The shares; `own`: the threads of the tunnel. Raises DeviceError if nothing was sampled."""
    counts = Counter[str]()
    for sample in found:
        if sample.command not in _IDLE:
            counts[_heap_of(sample, own)] += sample.hits
    total = counts.total()
    if not total:
        raise DeviceError("perf has no samples")
    return {heap: counts[heap] / total for heap in HEAPS} | {"cores": total / RATE / seconds}


def _heap_of(sample: Sample, own: Collection[int]) -> str:
    if sample.thread not in own:
        return "streams" if sample.command.startswith("iperf3") else "rest"
    if sample.symbol.startswith("[k]") or _KERNEL.search(sample.object):
        return "copies" if _COPY.search(sample.symbol) else "kernel"
    return "seal" if _SEAL.search(sample.symbol) or _SEAL_OBJECT.search(sample.object) else "own"


def _perf(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["perf", *arguments], capture_output=True, text=True, check=False, cwd=Path("/"), stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise DeviceError("a profile needs the command `perf`: install linux-perf") from error
    if done.returncode:
        raise DeviceError(f"perf {arguments[0]}: {done.stderr.strip()[-300:]}")
    return done.stdout
