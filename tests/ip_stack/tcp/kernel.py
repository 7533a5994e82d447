"""The kernel's TCP in a network namespace of its own, told the same segments as ours (script.py)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tests.ip_stack.tcp.script import MASK, PEER_ISN, WORDS, Said

from tunnel.wire.checksum import checksum_of, pseudo_header_sum, sum_of
from tunnel.wire.tcp import ACK, SYN, decode_tcp, encode_tcp

KERNEL, PEER = "10.9.0.1", "10.9.0.2"
PEER_PORT = 9999
ADDRESSES = socket.inet_aton(PEER) + socket.inet_aton(KERNEL)
_NEW_NETWORK = 0x40000000
_SILENCE = 0.06
"""Seconds without more: longer than the kernel delays an acknowledgment."""


def in_own_namespace(task: Callable[[KernelNetwork], None]) -> None:
    """Run the task in a thread with a network of its own, which ends with it. Needs root."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "unshare")
            network = KernelNetwork()
            try:
                task(network)
            finally:
                network.close()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


class KernelNetwork:
    """A TUN interface; the kernel has KERNEL, and whoever reads and writes the TUN is PEER."""

    def __init__(self) -> None:
        self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.tun, 0x400454CA, struct.pack("16sH22x", b"oracle", 0x1001))
        for command in (
            "ip link set lo up",
            f"ip addr add {KERNEL}/24 dev oracle",
            "ip link set oracle mtu 1400 up",
            "sysctl -qw net.ipv4.tcp_timestamps=0",
            "sysctl -qw net.ipv4.tcp_invalid_ratelimit=0",
        ):
            subprocess.run(command.split(), check=True)
        self.port = 20_000

    def close(self) -> None:
        os.close(self.tun)


class KernelScript:
    """One connection of the kernel's, with the verbs of a conversation (test_against_kernel.py)."""

    def __init__(self, network: KernelNetwork, *, passive: bool) -> None:
        network.port += 1
        self.tun, self.port = network.tun, network.port
        self.isn: int | None = None
        self.socket: socket.socket | None = None
        self.listener = socket.socket()
        if passive:
            self.listener.bind((KERNEL, self.port))
            self.listener.listen(5)
        else:
            self.listener.close()
            self.socket = socket.socket()
            self.socket.bind((KERNEL, self.port))
            self.socket.setblocking(False)
            with suppress(BlockingIOError):
                self.socket.connect((PEER, PEER_PORT))

    def end(self) -> None:
        self.listener.close()
        if self.socket is not None:
            self.socket.close()

    def says(
        self, expected: int, flags: int, offset: int, ack: int, data: bytes, options: bytes, window: int
    ) -> list[Said]:
        sequence, acknowledgment = (PEER_ISN + offset) & MASK, ((self.isn or 0) + ack) & MASK if flags & ACK else 0
        transport = encode_tcp(PEER_PORT, self.port, sequence, acknowledgment, flags, window, options) + data
        checksum = checksum_of(sum_of(transport) + pseudo_header_sum(ADDRESSES, 6, len(transport)))
        transport = transport[:16] + checksum.to_bytes(2, "little") + transport[18:]
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(transport), 0, 0x4000, 64, 6, 0) + ADDRESSES
        header = header[:10] + checksum_of(sum_of(header)).to_bytes(2, "little") + header[12:]
        os.write(self.tun, header + transport)
        return self.answers(expected)

    def does(self, expected: int, verb: str, size: int) -> tuple[list[Said], int]:
        """The user's part. Bytes that were received are counted; -1: there are none."""
        if self.socket is None:
            self.listener.settimeout(1)
            self.socket, _ = self.listener.accept()
            self.socket.setblocking(False)
        got = -1
        match verb:
            case "send":
                self.socket.send(bytes(size))
            case "shutdown":
                self.socket.shutdown(socket.SHUT_WR)
            case "close":
                self.socket.close()
            case "abort":
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.socket.close()
            case "receive":
                with suppress(BlockingIOError, ConnectionError):
                    got = len(self.socket.recv(1 << 20))
            case _:
                pass
        return self.answers(expected), got

    def answers(self, expected: int) -> list[Said]:
        """So many are waited for; then whatever else comes before a silence."""
        found: list[Said] = []
        end = time.monotonic() + 2
        while time.monotonic() < end:
            if len(found) >= expected:
                end = min(end, time.monotonic() + _SILENCE)
            select.select([self.tun], [], [], max(0.0, end - time.monotonic()))
            try:
                packet = os.read(self.tun, 2000)
            except BlockingIOError:
                continue
            if packet[0] == 0x45 and packet[9] == 6:
                said = self._read(packet[20:])
                found += [] if said is None else [said]
        return found

    def _read(self, transport: bytes) -> Said | None:
        segment = decode_tcp(transport)
        if segment.source_port != self.port:
            return None
        if segment.flags & SYN and self.isn is None:
            self.isn = segment.sequence
        flags = "".join(word for bit, word in WORDS.items() if segment.flags & bit)
        offset = (segment.sequence - (self.isn or 0) + (1 << 31)) % (1 << 32) - (1 << 31)
        return Said(
            flags,
            offset,
            len(segment.payload),
            (segment.acknowledgment - PEER_ISN) & MASK if segment.flags & ACK else 0,
        )
