"""Round trips by the system's own `ping`."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from tunnel.model.errors import DeviceError, Unreachable
from tunnel.verify.netlab import Lab
from tunnel.verify.netlab.sites import Host

INTERVAL = 0.01
_TRIP = re.compile(r"icmp_seq=\d+ .*time=([\d.]+) ms")
_CLOSING = 15.0


def round_trips(text: str) -> list[float]:
    """The milliseconds of all answers in the output of `ping`."""
    return [float(trip) for trip in _TRIP.findall(text)]


def ping(lab: Lab, host: Host, address: str, seconds: float, interval: float = INTERVAL) -> Sequence[float]:
    """Ping for so many seconds; the round trips in milliseconds. Raises DeviceError if nothing was answered."""
    count = max(1, round(seconds / interval))
    argv = lab.command(host, ["ping", "-n", "-i", f"{interval:g}", "-c", str(count), "-W", "2", address])
    done = subprocess.run(
        argv, capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        timeout=seconds + _CLOSING, check=False,
    )  # fmt: skip
    trips = round_trips(done.stdout)
    if not trips:
        raise DeviceError(f"no answer from {address}: {done.stdout.strip()[-300:]} {done.stderr.strip()}")
    return trips


def wait_answer(lab: Lab, host: Host, address: str, patience: float) -> None:
    """Ping until there is an answer. Raises Unreachable."""
    ends = time.monotonic() + patience
    while time.monotonic() < ends:
        with suppress(DeviceError):
            lab.run(host, ["ping", "-n", "-c", "1", "-W", "1", address])
            return
        time.sleep(0.1)
    raise Unreachable(f"{address} did not answer within {patience:g} s")
