"""A NAT64 (RFC 6146): IPv6 hosts reach the IPv4 internet behind a /96 prefix. A program, run by its path.

    python -I -S nat64_box.py INTERFACE PREFIX OUTER

    host -- IPv6 to PREFIX::a.b.c.d --> TUN INTERFACE | TCP, UDP | TUN INTERFACE -- IPv4 from OUTER --> a.b.c.d

It uses the standard library alone, as the delay box does. It prints one line, `ready`, when the interface exists (the
caller gives it routes), and ends when its stdin does. Ports are kept if they are free, for all destinations; filtering
is address and port-dependent. Mappings never expire: labs are short.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import select
import struct
import sys

# linux/if_tun.h: not in the standard library
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000

_TCP, _UDP = 6, 17
_CHECKSUM_AT = {_TCP: 16, _UDP: 6}
_HEAD4 = struct.Struct("!BBHHHBBH4s4s")
_HEAD6 = struct.Struct("!IHBB16s16s")
_DONT_FRAGMENT = 0x4000
_LARGEST = 65_536

Host = tuple[int, bytes, int]
"""Protocol, address, port."""


class Nat64:
    """The translation; packets in, packets out."""

    def __init__(self, prefix: bytes, outer: bytes) -> None:
        self._prefix = prefix
        self._outer = outer
        self._ports: dict[Host, int] = {}
        self._hosts: dict[tuple[int, int], Host] = {}
        """By protocol and outer port."""
        self._spoken_to: set[tuple[int, Host]] = set()

    def translate(self, packet: bytes) -> bytes | None:
        """The translated packet; None: dropped."""
        return self._out(packet) if packet[0] >> 4 == 6 else self._in(packet)

    def _out(self, packet: bytes) -> bytes | None:
        _, _, protocol, hops, source, destination = _HEAD6.unpack_from(packet)
        if protocol not in _CHECKSUM_AT or destination[:12] != self._prefix:
            return None
        body, remote = packet[_HEAD6.size :], destination[12:]
        inner_port, remote_port = struct.unpack_from("!HH", body)
        port = self._port(protocol, source, inner_port)
        self._spoken_to.add((port, (protocol, remote, remote_port)))
        body = _with_checksum(protocol, self._outer, remote, struct.pack("!H", port) + body[2:])
        length = _HEAD4.size + len(body)
        head = _HEAD4.pack(0x45, 0, length, 0, _DONT_FRAGMENT, hops - 1, protocol, 0, self._outer, remote)
        return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + body

    def _in(self, packet: bytes) -> bytes | None:
        first, _, _, _, _, hops, protocol, _, remote, destination = _HEAD4.unpack_from(packet)
        if protocol not in _CHECKSUM_AT or destination != self._outer:
            return None
        body = packet[(first & 15) * 4 :]
        remote_port, port = struct.unpack_from("!HH", body)
        host = self._hosts.get((protocol, port))
        if host is None or (port, (protocol, remote, remote_port)) not in self._spoken_to:
            return None
        source = self._prefix + remote
        body = _with_checksum(protocol, source, host[1], body[:2] + struct.pack("!H", host[2]) + body[4:])
        return _HEAD6.pack(6 << 28, len(body), protocol, hops - 1, source, host[1]) + body

    def _port(self, protocol: int, source: bytes, inner_port: int) -> int:
        host = (protocol, source, inner_port)
        if host not in self._ports:
            port = inner_port
            while (protocol, port) in self._hosts:
                port = port % 65_535 + 1
            self._ports[host], self._hosts[protocol, port] = port, host
        return self._ports[host]


def _with_checksum(protocol: int, source: bytes, destination: bytes, body: bytes) -> bytes:
    """The same segment with the checksum for these addresses (RFC 9293 section 3.1, RFC 8200 section 8.1)."""
    at = _CHECKSUM_AT[protocol]
    cleared = body[:at] + b"\0\0" + body[at + 2 :]
    counted = _checksum(source + destination + struct.pack("!II", len(body), protocol) + cleared) or 0xFFFF
    return body[:at] + struct.pack("!H", counted) + body[at + 2 :]


def _checksum(data: bytes) -> int:
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def main(interface: str, prefix: str, outer: str) -> None:
    """Translate until stdin ends."""
    box = Nat64(ipaddress.IPv6Address(prefix).packed[:12], ipaddress.IPv4Address(outer).packed)
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", interface.encode(), _IFF_TUN | _IFF_NO_PI))
    print("ready", flush=True)
    while sys.stdin.fileno() not in (ready := select.select([tun, sys.stdin], [], [])[0]):
        assert ready
        translated = box.translate(os.read(tun, _LARGEST))
        if translated is not None:
            try:
                os.write(tun, translated)
            except OSError:
                continue  # no route: as any router, it drops


if __name__ == "__main__":
    main(*sys.argv[1:])
