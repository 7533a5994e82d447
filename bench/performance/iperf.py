"""iperf3 between two hosts of a lab, and its reports.

Floods of UDP come from `iperf3 -u -b 0` too: its sender offers more than 400,000 datagrams of 64 bytes a second to a
bare path on one core, and its receiver counts what arrives, so no generator of our own is needed. The flood's sender
takes all the CPU that it gets, as the tunnels do; a machine with two cores measures both together, for every peer
alike.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tunnel.model.errors import DeviceError
from tunnel.verify.netlab import Lab
from tunnel.verify.netlab.sites import Host

PORT = 5201
_PATIENCE = 10.0
_PARTING = 1.0
"""Seconds that a server gets to end after its client."""
_CLOSING = 40.0
"""Seconds beyond its duration that a run gets: its last messages pass a full path."""


class Run:
    """A running client. Either `finish` it, or leave the block that started it, which ends both sides."""

    def __init__(self, client: subprocess.Popen[bytes], seconds: float) -> None:
        self._client = client
        self._ends = time.monotonic() + seconds + _CLOSING

    def finish(self) -> dict[str, Any]:
        """Wait for its end and return its report. Raises DeviceError if it failed or did not end."""
        try:
            text, _ = self._client.communicate(timeout=max(0.0, self._ends - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise DeviceError("iperf3 did not end") from error
        if not text:
            raise DeviceError(f"iperf3 ended without a report, with status {self._client.returncode}")
        report: dict[str, Any] = json.loads(text)
        if "error" in report:
            raise DeviceError(f"iperf3: {report['error']}")
        return report


@contextmanager
def transfer(
    lab: Lab, sender: Host, receiver: Host, address: str, seconds: float, *options: str, port: int = PORT
) -> Iterator[Run]:
    """Send from one host to an address of another for so many seconds."""
    argv = ["iperf3", "-s", "-1", "-J", "-B", address, "-p", str(port)]
    server = lab.popen(receiver, argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client: subprocess.Popen[bytes] | None = None
    try:
        _wait_listening(lab, receiver, port, server)
        argv = ["iperf3", "-J", "-c", address, "-p", str(port), "-t", f"{seconds:g}", *options]
        client = lab.popen(sender, argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        yield Run(client, seconds)
    finally:
        is_finished = client is not None and client.poll() is not None
        for process in (client, server):
            if process is not None:
                _end(process, _PARTING if is_finished else 0.0)


def run_transfer(lab: Lab, sender: Host, receiver: Host, address: str, seconds: float, *options: str) -> dict[str, Any]:
    """The same, to its end."""
    with transfer(lab, sender, receiver, address, seconds, *options) as run:
        return run.finish()


def received_gbit(report: dict[str, Any], part: str = "sum_received") -> float:
    """Gbit/s that arrived."""
    return float(report["end"][part]["bits_per_second"]) / 1e9


def received_gigabytes(report: dict[str, Any]) -> float:
    """What arrived, in both directions, in units of 10^9 bytes."""
    parts = ("sum_received", "sum_received_bidir_reverse")
    return sum(float(report["end"][part]["bytes"]) for part in parts if part in report["end"]) / 1e9


def received_datagrams(report: dict[str, Any], size: int) -> float:
    """Datagrams of `size` bytes a second that arrived."""
    end = report["end"]
    return float(end["sum_received"]["bytes"]) / size / float(end["sum_sent"]["seconds"])


def offered_datagrams(report: dict[str, Any]) -> float:
    """Datagrams a second that the sender sent."""
    sent = report["end"]["sum_sent"]
    return float(sent["packets"]) / float(sent["seconds"])


def intervals(report: dict[str, Any]) -> Sequence[tuple[float, float]]:
    """The receiver's intervals, if the run had `--get-server-output`: their ends in seconds, and their Gbit/s."""
    sums = [interval["sum"] for interval in report["server_output_json"]["intervals"]]
    return [(float(one["end"]), float(one["bits_per_second"]) / 1e9) for one in sums]


def _wait_listening(lab: Lab, host: Host, port: int, server: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + _PATIENCE
    while not lab.run(host, ["ss", "-Hltn", f"sport = :{port}"]):
        if server.poll() is not None or time.monotonic() > ends:
            raise DeviceError(f"iperf3 does not listen in {host.namespace}")
        time.sleep(0.02)


def _end(process: subprocess.Popen[bytes], patience: float) -> None:
    if process.poll() is None:
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
