"""TUN interfaces with offloads, in namespaces that vanish with the test: two hosts, or a router."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import outcome
import trio

from tunnel.dataplane.superpacket import MAX_TCP_SEGMENTS, is_sound, split, to_plain
from tunnel.model.buffers import Buffer
from tunnel.network.os.tun_link import RealTunLink
from tunnel.wire.virtio import PLAIN_BIT, VIRTIO_BYTES

CLONE_NEWNET = 0x40000000
# Linux <if_tun.h>
TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETLE = 0x400454CA, 0x400454D0, 0x400454DC
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
CSUM_TSO_ECN, USO = 0x01 | 0x02 | 0x04 | 0x08, 0x20 | 0x40

MTU = 1400
Made = TypeVar("Made")


@dataclass
class Tun:
    """A TUN interface; with a virtio header it has all offloads that the kernel knows."""

    descriptor: int
    has_header: bool
    has_uso: bool = False
    seen: Counter[int] = field(default_factory=Counter)
    """How many frames of each gso_type were read."""

    def read_burst(self) -> list[Buffer]:
        """Up to 64 frames. What the kernel writes must be sound, or be it once cut."""
        frames: list[Buffer] = []
        while len(frames) < 64:
            try:
                frames.append(os.read(self.descriptor, 70_000))
            except BlockingIOError:
                break
        if self.has_header:
            parts = [part for frame in frames for part in split(frame, MAX_TCP_SEGMENTS)]
            assert all(is_sound(part) for part in parts), [bytes(part[:80]).hex() for part in parts]
            self.seen.update(frame[1] for frame in frames)
        return frames

    def write(self, frame: Buffer) -> None:
        if not self.has_header:
            for packet in to_plain(frame):
                os.write(self.descriptor, packet)
        elif frame[0] & PLAIN_BIT:
            os.write(self.descriptor, bytes(VIRTIO_BYTES) + frame)
        else:
            os.write(self.descriptor, frame)


def open_tun(name: str, has_header: bool) -> Tun:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = IFF_TUN | IFF_NO_PI | (IFF_VNET_HDR if has_header else 0)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    if not has_header:
        return Tun(descriptor, False)
    fcntl.ioctl(descriptor, TUNSETVNETLE, struct.pack("i", 1))
    try:
        fcntl.ioctl(descriptor, TUNSETOFFLOAD, CSUM_TSO_ECN | USO)
    except OSError:  # Linux before 6.2
        fcntl.ioctl(descriptor, TUNSETOFFLOAD, CSUM_TSO_ECN)
        return Tun(descriptor, True)
    return Tun(descriptor, True, has_uso=True)


def in_new_namespace(make: Callable[[], Made]) -> Made:
    """What `make` makes in a network namespace that lives as long as its descriptors."""
    results: list[outcome.Outcome[Made]] = []

    def enter_and_make() -> Made:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return make()

    thread = threading.Thread(target=lambda: results.append(outcome.capture(enter_and_make)))
    thread.start()
    thread.join()
    return results[0].unwrap()


@dataclass
class Host:
    """A namespace with one TUN interface, and sockets in it by family and type."""

    tun: Tun
    address: dict[socket.AddressFamily, str]
    sockets: dict[tuple[socket.AddressFamily, socket.SocketKind], socket.socket]

    def close(self) -> None:
        os.close(self.tun.descriptor)
        for each in self.sockets.values():
            each.close()


FAMILIES = (socket.AF_INET, socket.AF_INET6)


def make_host(number: int, has_header: bool) -> Host:
    address = {socket.AF_INET: f"10.86.0.{number}", socket.AF_INET6: f"fd00::{number}"}

    def make() -> Host:
        tun = open_tun("tun0", has_header)
        Path("/proc/sys/net/ipv4/tcp_ecn").write_text("1")
        link = RealTunLink("tun0", MTU, remake=lambda: None)
        trio.run(link.set_up, [f"{address[socket.AF_INET]}/24", f"{address[socket.AF_INET6]}/64"], [])
        sockets = {}
        for family in FAMILIES:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                sockets[family, kind] = made = socket.socket(family, kind)
                made.setblocking(False)
                made.bind((address[family], 4000))
        return Host(tun, address, sockets)

    return in_new_namespace(make)


@contextmanager
def two_hosts(has_header: bool) -> Iterator[tuple[Host, Host]]:
    """The first has all offloads; the second has them or none."""
    with ExitStack() as stack:
        hosts = make_host(1, True), make_host(2, has_header)
        for host in hosts:
            stack.callback(host.close)
        yield hosts


@contextmanager
def router() -> Iterator[tuple[Tun, Tun]]:
    """Forwards what is written to the first, which has all offloads, to the second, which has none."""

    def make() -> tuple[Tun, Tun]:
        Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("0")
        Path("/proc/sys/net/ipv4/conf/default/rp_filter").write_text("0")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        made = open_tun("tun0", True), open_tun("tun1", False)
        for number in range(2):
            link = RealTunLink(f"tun{number}", MTU, remake=lambda: None)
            addresses = [f"10.87.0.{number}/32", f"fd01::{number}/128"]
            trio.run(link.set_up, addresses, [f"10.86.0.{number + 1}/32", f"fd00::a56:{number + 1}/128"])
        return made

    entry, out = in_new_namespace(make)
    try:
        yield entry, out
    finally:
        os.close(entry.descriptor)
        os.close(out.descriptor)
