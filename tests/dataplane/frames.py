"""Packets and frames made from scratch, slowly: what the fast code is checked with."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hypothesis import strategies as st

VIRTIO = struct.Struct("<BBHHHH")
TCP, UDP, HOP_BY_HOP = 6, 17, 0
FIN, PSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80
ROUTER_ALERT4 = bytes.fromhex("94040000")
PADDING6 = bytes.fromhex("010400000000")


@dataclass(frozen=True, slots=True)
class Flow:
    """A direction of a TCP connection or of a UDP association. `has_options`: an IPv4 option or a hop-by-hop header."""

    is_ipv4: bool = True
    protocol: int = TCP
    has_options: bool = False
    tcp_options: bytes = b""
    tos: int = 0
    ttl: int = 64
    may_fragment: bool = False
    ports: tuple[int, int] = (4000, 80)

    @property
    def addresses(self) -> bytes:
        """Source and destination."""
        pair = (b"\x0a\x56\x00\x01", b"\x0a\x56\x00\x02")
        return b"".join(pair) if self.is_ipv4 else b"".join(b"\xfd\x00" + bytes(10) + address for address in pair)

    @property
    def start(self) -> int:
        """Where the transport header begins in a packet."""
        return (20 + 4 * self.has_options) if self.is_ipv4 else 40 + 8 * self.has_options

    @property
    def place(self) -> int:
        """Of the checksum in the transport header."""
        return 16 if self.protocol == TCP else 6

    @property
    def transport_bytes(self) -> int:
        return 20 + len(self.tcp_options) if self.protocol == TCP else 8

    @property
    def headers(self) -> int:
        return self.start + self.transport_bytes

    def packet(self, payload: bytes, *, sequence: int = 0, ident: int = 0, flags: int = ACK) -> bytes:
        """A plain packet with complete checksums."""
        packet = self._packet(payload, sequence, ident, flags)
        pseudo = self._pseudo_header(len(packet) - self.start)
        checksum = complement(sum_of(pseudo + packet[self.start :]))
        return self._with_sum(packet, checksum or (0xFFFF if self.protocol == UDP else 0))

    def frame(self, payload: bytes, *, sequence: int = 0, ident: int = 0, flags: int = ACK) -> bytes:
        """A frame with a partial checksum that is no superpacket."""
        return VIRTIO.pack(1, 0, 0, 0, self.start, self.place) + self._partial(payload, sequence, ident, flags)

    def superpacket(
        self, payload: bytes, size: int, *, sequence: int = 0, ident: int = 0, flags: int = ACK, hdr_len: int = 0
    ) -> bytes:
        """A superpacket with segments of `size` bytes, as a kernel would write it."""
        kind = 5 if self.protocol == UDP else (1 if self.is_ipv4 else 4) | (0x80 if flags & CWR else 0)
        header = VIRTIO.pack(1, kind, hdr_len or self.headers, size, self.start, self.place)
        return header + self._partial(payload, sequence, ident, flags)

    def segments(
        self, payload: bytes, size: int, *, sequence: int = 0, ident: int = 0, flags: int = ACK
    ) -> list[bytes]:
        """The same as plain packets, as a kernel segments it."""
        packets = []
        for at in range(0, len(payload), size):
            first, last = at == 0, at + size >= len(payload)
            own = flags & ~(0 if first else CWR) & ~(0 if last else FIN | PSH)
            number = (ident + at // size) % 2**16
            packets.append(
                self.packet(payload[at : at + size], sequence=(sequence + at) % 2**32, ident=number, flags=own)
            )
        return packets

    def _partial(self, payload: bytes, sequence: int, ident: int, flags: int) -> bytes:
        packet = self._packet(payload, sequence, ident, flags)
        return self._with_sum(packet, sum_of(self._pseudo_header(len(packet) - self.start)))

    def _with_sum(self, packet: bytes, total: int) -> bytes:
        at = self.start + self.place
        return packet[:at] + total.to_bytes(2) + packet[at + 2 :]

    def _pseudo_header(self, length: int) -> bytes:
        return self.addresses + struct.pack("!HH" if self.is_ipv4 else "!II", length, self.protocol)

    def _packet(self, payload: bytes, sequence: int, ident: int, flags: int) -> bytes:
        if self.protocol == TCP:
            offset = self.transport_bytes << 2
            transport = struct.pack("!HHIIBBHHH", *self.ports, sequence, 7, offset, flags, 500, 0, 0) + self.tcp_options
        else:
            transport = struct.pack("!HHHH", *self.ports, 8 + len(payload), 0)
        if self.is_ipv4:
            options = ROUTER_ALERT4 if self.has_options else b""
            total = self.headers + len(payload)
            fragment = 0 if self.may_fragment else 0x4000
            start = struct.pack(
                "!BBHHHBBH", 0x40 | self.start // 4, self.tos, total, ident, fragment, self.ttl, self.protocol, 0
            )
            header = start + self.addresses + options
            return header[:10] + complement(sum_of(header)).to_bytes(2) + header[12:] + transport + payload
        extension = bytes((self.protocol, 0)) + PADDING6 if self.has_options else b""
        length = len(extension) + len(transport) + len(payload)
        kind = HOP_BY_HOP if self.has_options else self.protocol
        header = struct.pack("!IHBB", 6 << 28 | self.tos << 20, length, kind, self.ttl) + self.addresses
        return header + extension + transport + payload


def sum_of(covered: bytes) -> int:
    """RFC 1071 as it is written: word by word, with end-around carry."""
    padded = covered + bytes(len(covered) % 2)
    total = 0
    for at in range(0, len(padded), 2):
        total += int.from_bytes(padded[at : at + 2])
        total = (total & 0xFFFF) + (total >> 16)
    return total


def complement(total: int) -> int:
    return 0xFFFF ^ total


def flows(protocol: int | None = None, has_options: bool | None = None) -> st.SearchStrategy[Flow]:
    """Any flow; only of a protocol, only with or without options."""
    return st.builds(
        Flow,
        is_ipv4=st.booleans(),
        protocol=st.sampled_from((TCP, UDP)) if protocol is None else st.just(protocol),
        has_options=st.booleans() if has_options is None else st.just(has_options),
        tcp_options=st.sampled_from((b"", b"\x01\x01\x08\x0a" + bytes(8))),
        tos=st.integers(0, 255),
        ttl=st.integers(1, 255),
        may_fragment=st.booleans(),
        ports=st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
    )
