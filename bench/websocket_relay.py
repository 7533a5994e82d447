"""What the WebSocket relay carries: pairs of nodes push records through a real server, by TLS over loopback.

    python bench/websocket_relay.py [--pairs N] [--seconds S] [--size BYTES]

The server, all senders and all receivers are a process each. A sender does as TCP does: a window of records, which
grows until some are dropped. Prints Gbit/s, the CPU seconds a gigabyte of each process and its resident memory, the
round trip of a record and its answer, and for several pairs Jain's index of fairness. No other machine is touched.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tunnel.crypto.admission import prove
from tunnel.crypto.network_keys import NetworkKeys, derive_network_keys
from tunnel.crypto.node_keys import NodeKeys
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.network.link import Link
from tunnel.network.os.tcp_stream import TcpStream
from tunnel.network.tls import client_tls, parse_pin, shown_fingerprint
from tunnel.network.websocket import open_message_channel
from tunnel.node.server_admission import MAX_MESSAGE, RELAY_QUEUE
from tunnel.wire.signals import Challenge, Welcome

PORT, HTTP_PORT, UDP_PORT = 38445, 38446, 33488
SECRET = bytes(range(32))
WINDOW = 4 << 20
"""Bytes that a sender may have under way: what Linux lets a TCP receiver buffer, about."""
SEGMENT = 1400
FIRST_WINDOW = 10.0 * SEGMENT
"""RFC 6928."""
RECORDS_A_WINDOW = 4
"""A small window is sent in small records, as the kernel sizes its superpackets."""
PATIENCE = 0.3
"""Seconds without an answer after which everything under way counts as lost, at least."""
NUMBER_BYTES = 8
BETA, CUBIC = 0.7, 0.4
"""CUBIC's (RFC 9438): the window after a loss, and how fast it grows again."""
WARM_UP = 1.0


class Sender:
    """A window of bytes, in numbered records; the receiver answers with the number of each that it got."""

    def __init__(self, link: Link, handle: bytes, size: int) -> None:
        self._link = link
        self._handle = handle
        self._size = size
        self._filling = os.urandom(size - NUMBER_BYTES)
        self._window = FIRST_WINDOW
        self._before_loss = float(WINDOW)
        self._lost_at = trio.current_time()
        self._is_starting = True
        self._next = 0
        self._under_way: deque[tuple[int, float, int]] = deque()
        self._bytes_under_way = 0
        self._recovered = 0
        """Losses of records before this one belong to a loss that has been answered."""
        self._smooth_trip = PATIENCE / 2
        self._news = trio.Event()
        self.delivered = 0
        self.lost = 0
        self.trips: list[float] = []

    def heed(self, number: int) -> None:
        """The receiver got this record; the order holds, so those before it are lost."""
        now = trio.current_time()
        while self._under_way and self._under_way[0][0] < number:
            self._lose(self._pop()[0], now)
        if self._under_way and self._under_way[0][0] == number:
            _, sent, size = self._pop()
            self.trips.append(now - sent)
            self._smooth_trip += (now - sent - self._smooth_trip) / 8
            self.delivered += size
            if self._is_starting:
                self._window += size
            else:
                since, unit = now - self._lost_at, SEGMENT
                plateau = (self._before_loss / unit * (1 - BETA) / CUBIC) ** (1 / 3)
                cubic = (CUBIC * (since - plateau) ** 3) * unit + self._before_loss
                self._window = max(self._window + SEGMENT * size / self._window / 2, min(cubic, 1.5 * self._window))
            self._window = min(self._window, WINDOW)
        self._news.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            size = int(min(self._size, max(self._window / RECORDS_A_WINDOW, SEGMENT)))
            while self._bytes_under_way + size <= max(self._window, size):
                filling = self._filling[: size - NUMBER_BYTES]
                self._link.send_relay(self._handle, self._next.to_bytes(NUMBER_BYTES, "big") + filling)
                self._under_way.append((self._next, trio.current_time(), size))
                self._bytes_under_way += size
                self._next += 1
            self._news = trio.Event()
            with trio.move_on_after(max(PATIENCE, 3 * self._smooth_trip)) as waiting:
                await self._news.wait()
            if waiting.cancelled_caught:
                while self._under_way:
                    self._pop()
                    self.lost += 1
                self._window, self._is_starting = 2.0 * SEGMENT, True

    def _pop(self) -> tuple[int, float, int]:
        self._bytes_under_way -= self._under_way[0][2]
        return self._under_way.popleft()

    def _lose(self, number: int, now: float) -> None:
        self.lost += 1
        if number >= self._recovered:
            self._before_loss, self._lost_at, self._is_starting = self._window, now, False
            self._window = max(self._window * BETA, 2.0 * SEGMENT)
            self._recovered = self._next


def keys_of(role: str, pair: int) -> NodeKeys:
    """The same in every process."""
    return NodeKeys(f"{role} {pair}".encode().ljust(32, b"."))


@asynccontextmanager
async def open_link(pin: bytes, network: NetworkKeys, keys: NodeKeys, source: str) -> AsyncIterator[Link]:
    """Register from this address of loopback."""
    connected = socket.create_connection(("127.0.0.1", PORT), source_address=(source, 0))
    stream = await client_tls(TcpStream(connected), "127.0.0.1", pin)
    async with open_message_channel(stream, host="bench", patience=10, max_message=MAX_MESSAGE) as channel:
        link = Link(channel, timings=DEFAULT_TIMINGS, relay_queue=RELAY_QUEUE)
        challenge = await link.receive()
        assert isinstance(challenge, Challenge)
        link.send_signal(prove(challenge, network, keys, binding=shown_fingerprint(stream)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run_writer)
            assert isinstance(await link.receive(), Welcome)
            yield link
            nursery.cancel_scope.cancel()


async def receive(link: Link, sender: Sender | None) -> None:
    """Answer each record, or hand each answer to the sender."""
    while True:
        received = await link.receive()
        if isinstance(received, list):
            for handle, datagram in received:
                if sender is None:
                    link.send_relay(handle, bytes(datagram[:NUMBER_BYTES]) + bytes(56))
                else:
                    sender.heed(int.from_bytes(datagram[:NUMBER_BYTES], "big"))


async def play(role: str, pin: bytes, pairs: int, size: int, seconds: float) -> None:
    """All senders or all receivers. Speaks with `measure` by lines on stdin and stdout."""
    other = "receiver" if role == "sender" else "sender"
    senders: list[Sender] = []
    async with trio.open_nursery() as nursery:
        for pair in range(pairs):
            network = derive_network_keys(f"pair {pair}", SECRET)

            async def stay(pair: int, network: NetworkKeys, task_status: trio.TaskStatus[None]) -> None:
                source = f"127.0.{1 if role == 'sender' else 2}.{pair + 1}"
                async with open_link(pin, network, keys_of(role, pair), source) as link:
                    sender = Sender(link, keys_of(other, pair).id.handle, size) if role == "sender" else None
                    if sender is not None:
                        senders.append(sender)
                    task_status.started()
                    await receive(link, sender)

            await nursery.start(stay, pair, network)
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        for sender in senders:
            nursery.start_soon(sender.run)
        await trio.sleep(WARM_UP)
        begun, before = time.process_time(), [sender.delivered for sender in senders]
        lost = sum(sender.lost for sender in senders)
        for sender in senders:
            sender.trips.clear()
        await trio.sleep(seconds)
        trips = sorted(trip for sender in senders for trip in sender.trips)
        report: dict[str, Any] = {
            "cpu": time.process_time() - begun,
            "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "delivered": [sender.delivered - was for sender, was in zip(senders, before, strict=True)],
            "lost": sum(sender.lost for sender in senders) - lost,
            "trips": [trips[len(trips) * percent // 100] for percent in (50, 99)] if trips else [0.0, 0.0],
        }
        print(json.dumps(report), flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        nursery.cancel_scope.cancel()


def cpu_seconds(pid: int) -> float:
    """The CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(pid: int) -> float:
    """The most MiB that a process had resident."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(arguments: argparse.Namespace) -> None:
    """Start the three processes and print what they did."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).parent / "p2ptunnel-trio"), "server", "--no-udp-relay"]
        command += ["--listen", f"127.0.0.1:{PORT}", "--http", f"127.0.0.1:{HTTP_PORT}", "--state", folder]
        command += ["--udp", f"127.0.0.1:{UDP_PORT}", "--udp", f"127.0.0.1:{UDP_PORT + 1}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            assert server.stdout is not None
            pin = server.stdout.readline().decode().split()[2]
            try:
                report(arguments, pin, server.pid)
            finally:
                server.terminate()


def _line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def report(arguments: argparse.Namespace, pin: str, server: int) -> None:
    """Let both roles play, and print a table."""
    roles = {}
    for role in ("receiver", "sender"):
        argv = [sys.executable, __file__, "--role", role, "--pin", pin, *sys.argv[1:]]
        roles[role] = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert _line_of(roles[role]) == "ready\n"
    for process in roles.values():
        print("go", file=process.stdin, flush=True)
    time.sleep(WARM_UP)
    used = cpu_seconds(server)
    results = {role: json.loads(_line_of(process)) for role, process in roles.items()}
    used = cpu_seconds(server) - used
    for process in roles.values():
        process.communicate("stop\n")
    carried = results["sender"]["delivered"]
    total = sum(carried)
    print(f"{total * 8 / arguments.seconds / 1e9:.3f} Gbit/s, {results['sender']['lost']} records lost", end="")
    median, late = (1000 * trip for trip in results["sender"]["trips"])
    print(f", round trip {median:.1f} ms (99 %: {late:.1f})")
    if len(carried) > 1:
        print(f"Jain's index of {len(carried)} pairs: {total**2 / len(carried) / sum(x * x for x in carried):.3f}")
    print(f"{'process':<10}{'CPU':>6}{'s/GB':>7}{'MiB':>7}")
    memory = {role: result["rss"] for role, result in results.items()} | {"server": peak_memory(server)}
    spent = {role: result["cpu"] for role, result in results.items()} | {"server": used}
    for name in ("sender", "server", "receiver"):
        share = spent[name] / arguments.seconds
        print(f"{name:<10}{share:>6.0%}{spent[name] / max(total, 1) * 1e9:>7.2f}{memory[name]:>7.0f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--size", type=int, default=56_000, help="bytes of a record")
    parser.add_argument("--role", choices=["sender", "receiver"], help=argparse.SUPPRESS)
    parser.add_argument("--pin", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.role:
        measure(arguments)
        return
    trio.run(play, arguments.role, parse_pin(arguments.pin), arguments.pairs, arguments.size, arguments.seconds)


if __name__ == "__main__":
    main()
