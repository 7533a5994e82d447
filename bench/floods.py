"""How an honest pair on the WebSocket relay fares while members of another network flood the server, on loopback.

Prints, for each kind of flood, the lost pings and the round trips. No other machine is touched.

    python bench/floods.py [--connections N] [--seconds S] [KIND]...
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

import tunnel
from tunnel.cli.invite import make_invite
from tunnel.crypto.admission import prove
from tunnel.crypto.network_keys import NetworkKeys, derive_network_keys
from tunnel.crypto.node_keys import NodeKeys
from tunnel.model.errors import PeerUnreachable
from tunnel.model.settings import NodeSettings
from tunnel.network.frame_reader import mask
from tunnel.network.tls import client_tls, parse_pin, shown_fingerprint
from tunnel.wire.invites import encode_invite
from tunnel.wire.relay_batch import MAX_ENTRIES, encode_relay_batch
from tunnel.wire.signals import SUBPROTOCOL, Announce, Challenge, Ping, decode_signal, encode_signal

PORT, HTTP_PORT, UDP_PORT = 38443, 38444, 33478
FLOODERS = "127.0.0.66"
EVERY = 0.1
"""Seconds between two honest pings."""
BINARY, PING, PONG = 0x82, 0x89, 0x8A


def frame(payload: bytes, first: int = BINARY, key: bytes = bytes(4)) -> bytes:
    """A client's frame, under a mask of zeros unless told otherwise."""
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([first]) + size + key + mask(payload, key)


FLOODS = {
    "nothing": b"",
    "fragments": frame(b"", 0x02) + frame(b"", 0x00) * 26_000,
    "pings": frame(b"", PING) * 2000,
    "pongs": frame(b"", PONG) * 2000,
    "batches of one tiny frame": frame(encode_relay_batch([(b"nobody..", b"")])) * 1000,
    "full batches of tiny frames": frame(encode_relay_batch([(b"nobody..", b"x")] * MAX_ENTRIES)) * 50,
    "masked messages of 64 KiB": frame(encode_relay_batch([(b"nobody..", bytes(65_000))]), key=b"mask") * 16,
    "empty batches": frame(encode_relay_batch([])) * 1000,
    "signals": frame(encode_signal(Ping(1))) * 1000,
    "announcements": b"",
}


class Flooder:
    """A registered node that sends by hand."""

    def __init__(self, stream: trio.abc.Stream, binding: bytes) -> None:
        self.stream = stream
        self.binding = binding
        self._received = bytearray()

    @classmethod
    async def open(cls, pin: bytes, keys: NetworkKeys) -> Flooder:
        """Connect from the flooders' address and register a new node."""
        socket = trio.socket.socket()
        await socket.bind((FLOODERS, 0))
        await socket.connect(("127.0.0.1", PORT))
        stream = await client_tls(trio.SocketStream(socket), "127.0.0.1", pin)
        flooder = cls(stream, shown_fingerprint(stream))
        key = base64.b64encode(os.urandom(16)).decode()
        await stream.send_all(
            f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in flooder._received:
            flooder._received += await stream.receive_some()
        del flooder._received[: flooder._received.index(b"\r\n\r\n") + 4]
        challenge = decode_signal(await flooder._message())
        assert isinstance(challenge, Challenge)
        hello = prove(challenge, keys, NodeKeys(os.urandom(32)), binding=flooder.binding)
        await stream.send_all(frame(encode_signal(hello)))
        await flooder._message()
        return flooder

    async def flood(self, kind: str, until: float) -> None:
        """Send without end and read what comes, until the connection ends."""
        with trio.move_on_at(until):
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._drain, nursery.cancel_scope)
                    await self._send(kind)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

    async def _send(self, kind: str) -> None:
        seq = 0
        while kind == "announcements":
            seq += 1
            await self.stream.send_all(frame(encode_signal(Announce(bytes(16), seq, b""))))
            await trio.sleep(0.125)
        while FLOODS[kind]:
            await self.stream.send_all(FLOODS[kind])
        await trio.sleep_forever()

    async def _drain(self, scope: trio.CancelScope) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await self.stream.receive_some(262_144):
                pass
        scope.cancel()

    async def _message(self) -> bytes:
        while True:
            if len(self._received) > 2:
                size, at = self._received[1], 2
                if size == 126:
                    size, at = int.from_bytes(self._received[2:4], "big"), 4
                if len(self._received) >= at + size:
                    message = bytes(self._received[at : at + size])
                    del self._received[: at + size]
                    return message
            received = await self.stream.receive_some()
            assert received, "the server hung up"
            self._received += received


@asynccontextmanager
async def running_server(state: Path) -> AsyncIterator[tuple[str, str, int]]:
    """Start a server; yields its URL, its pin and its process id."""
    command = Path(sys.executable).parent / "p2ptunnel-trio"
    argv = [str(command), "server", "--listen", f"127.0.0.1:{PORT}", "--http", f"127.0.0.1:{HTTP_PORT}"]
    argv += ["--udp", f"127.0.0.1:{UDP_PORT}", "--udp", f"127.0.0.1:{UDP_PORT + 1}", "--no-udp-relay"]
    argv += ["--state", str(state)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        _, url, pin = process.stdout.readline().decode().split()
        try:
            yield url, pin, process.pid
        finally:
            process.terminate()


async def ping_honestly(invite: str, seconds: float, asked: str) -> None:
    """Ping over the relay for so many seconds; print `lost`, and the sorted round trips in ms."""
    settings = NodeSettings(default_stun=False, port_mapping=False, relay_only=True)
    async with (
        tunnel.open_node(invite=invite, settings=replace(settings, name="desk")) as desk,
        tunnel.open_node(invite=invite, settings=replace(settings, name="laptop")),
    ):
        peer = await desk.connect("laptop")
        await peer.ping()
        print("ready", flush=True)
        assert await trio.to_thread.run_sync(sys.stdin.readline) == asked + "\n"
        trips: list[float] = []
        lost = 0

        async def ping() -> None:
            nonlocal lost
            try:
                trips.append((await peer.ping()).rtt)
            except PeerUnreachable:
                lost += 1

        until = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            while trio.current_time() < until:
                nursery.start_soon(ping)
                await trio.sleep(EVERY)
        print(lost, *(f"{1000 * trip:.1f}" for trip in sorted(trips)), flush=True)


def cpu_seconds(pid: int) -> float:
    """The CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(kind: str, url: str, pin: str, pid: int, connections: int, seconds: float) -> None:
    """Measure the pings during one flood."""
    invite = encode_invite(make_invite(url, pin, "honest"))
    argv = [sys.executable, __file__, "--pair", "--seconds", str(seconds)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as pair:  # noqa: ASYNC220 - nothing runs yet
        assert pair.stdin is not None
        assert pair.stdout is not None
        print(invite, file=pair.stdin, flush=True)
        assert pair.stdout.readline() == "ready\n"
        keys = derive_network_keys("floods", os.urandom(32))
        flooders = [await Flooder.open(parse_pin(pin), keys) for _ in range(connections)]
        until, left = trio.current_time() + seconds, 0
        began, used = time.monotonic(), cpu_seconds(pid)
        print("go", file=pair.stdin, flush=True)
        async with trio.open_nursery() as nursery:
            for flooder in flooders:
                nursery.start_soon(flooder.flood, kind, until)
            await trio.sleep_until(until - 0.1)
            left = len(nursery.child_tasks)
        share = (cpu_seconds(pid) - used) / (time.monotonic() - began)
        for flooder in flooders:
            await trio.aclose_forcefully(flooder.stream)
        lost, *trips = (await trio.to_thread.run_sync(pair.stdout.readline)).split()
        median, worst = (trips[len(trips) // 2], trips[-1]) if trips else ("-", "-")
        print(f"{kind:<28}{lost:>5}{median:>10}{worst:>10}{share:>8.0%}{left:>8}", flush=True)


async def main(arguments: argparse.Namespace) -> None:
    if arguments.pair:
        await ping_honestly(sys.stdin.readline().strip(), arguments.seconds, "go")
        return
    print(f"{'flood':<28}{'lost':>5}{'median ms':>10}{'max ms':>10}{'CPU':>8}{'left':>8}")
    for kind in arguments.kinds or FLOODS:
        with tempfile.TemporaryDirectory() as folder:
            async with running_server(Path(folder) / "state") as (url, pin, pid):
                await measure(kind, url, pin, pid, arguments.connections, arguments.seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", choices=[*FLOODS, []], metavar="KIND")
    parser.add_argument("--connections", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--pair", action="store_true", help=argparse.SUPPRESS)
    trio.run(main, parser.parse_args())
