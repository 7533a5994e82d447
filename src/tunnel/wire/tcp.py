"""TCP segments (RFC 9293 section 3.1) with the options of RFC 7323 (window scale, timestamps) and RFC 2018 (SACK).

 0             2                  4          8                12            13      14       16         18       20
| source port | destination port | sequence | acknowledgment | header / 4  | flags | window | checksum | urgent | ...

Whether a checksum is right is asked elsewhere: a frame with a virtio header says that it is, or is still to be made.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tunnel.model.buffers import Buffer
from tunnel.model.errors import MalformedFrame

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32

TCP_HEADER_BYTES = 20
MAX_WINDOW_SCALE = 14
"""RFC 7323 section 2.3."""
MAX_SACK_BLOCKS = 4

_HEADER = struct.Struct("!HHIIHHHH")
_TIMESTAMPED = struct.Struct("!HHIIHHHHIII")
"""A header whose only options are timestamps, as RFC 7323 appendix A lays them out."""
_NOP_NOP_TIMESTAMPS = 0x0101080A
_TIMESTAMPS = struct.Struct("!III")
_TWO = struct.Struct("!II")
_END, _NOP, _MSS, _WINDOW_SCALE, _SACK_PERMITTED, _SACK, _TIMESTAMP = 0, 1, 2, 3, 4, 5, 8


class TcpSegment(NamedTuple):
    """A segment as it arrived. Where it comes from and goes to is in the IP header, but for the ports."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledgment: int
    """Valid only with the flag ACK."""
    flags: int
    """The low 8 bits; ECE and CWR are there but unused."""
    window: int
    """As on the wire: not scaled."""
    payload: Buffer
    """May be longer than an MSS: a superpacket. A view into the frame that was decoded."""
    timestamp: int | None = None
    """TSval; None without the option."""
    echo: int = 0
    """TSecr."""
    sack: tuple[tuple[int, int], ...] = ()
    """Blocks of (left edge, right edge)."""
    mss: int | None = None
    window_scale: int | None = None
    """At most MAX_WINDOW_SCALE."""
    sack_permitted: bool = False

    @property
    def length(self) -> int:
        """SEG.LEN: sequence numbers that the segment takes, SYN and FIN among them."""
        return len(self.payload) + (self.flags >> 1 & 1) + (self.flags & 1)


def decode_tcp(transport: Buffer) -> TcpSegment:
    """A segment from its header to the end of its payload. Raises MalformedFrame if it is shorter than its header.

    Unknown options are skipped. After an option that is longer than the header, or of length 0 or 1, the rest of the
    options is ignored (RFC 9293 section 3.1, MUST-7). Urgent data is taken as ordinary data (RFC 6093).
    """
    size = len(transport)
    if size >= 32 and transport[12] >> 4 == 8:
        source, destination, sequence, acknowledgment, word, window, _, _, kind, value, echo = _TIMESTAMPED.unpack_from(
            transport
        )
        if kind == _NOP_NOP_TIMESTAMPS:
            return TcpSegment(
                source, destination, sequence, acknowledgment, word & 0xFF, window, transport[32:], value, echo
            )
    if size < TCP_HEADER_BYTES:
        raise MalformedFrame("less than a TCP header")
    source, destination, sequence, acknowledgment, word, window, _, _ = _HEADER.unpack_from(transport)
    end = (word >> 12) * 4
    if not TCP_HEADER_BYTES <= end <= size:
        raise MalformedFrame("a TCP header that is shorter or longer than it says")
    segment = TcpSegment(source, destination, sequence, acknowledgment, word & 0xFF, window, transport[end:])
    return _with_options(segment, bytes(transport[TCP_HEADER_BYTES:end])) if end > TCP_HEADER_BYTES else segment


def encode_tcp(
    source_port: int,
    destination_port: int,
    sequence: int,
    acknowledgment: int,
    flags: int,
    window: int,
    options: bytes = b"",
    checksum: int = 0,
) -> bytes:
    """A header with its options, whose length is a multiple of 4, at most 40."""
    word = (TCP_HEADER_BYTES + len(options)) << 10 | flags
    header = _HEADER.pack(source_port, destination_port, sequence, acknowledgment, word, window, checksum, 0)
    return header + options if options else header


def encode_syn_options(
    mss: int, window_scale: int | None, sack_permitted: bool, timestamps: tuple[int, int] | None
) -> bytes:
    """The options of a SYN. None and False: without that option."""
    options = struct.pack("!BBH", _MSS, 4, mss)
    if timestamps is not None:
        start = bytes((_SACK_PERMITTED, 2)) if sack_permitted else bytes((_NOP, _NOP))
        options += start + struct.pack("!BBII", _TIMESTAMP, 10, *timestamps)
    elif sack_permitted:
        options += bytes((_NOP, _NOP, _SACK_PERMITTED, 2))
    if window_scale is not None:
        options += bytes((_NOP, _WINDOW_SCALE, 3, window_scale))
    return options


def encode_timestamps(value: int, echo: int) -> bytes:
    """12 bytes."""
    return _TIMESTAMPS.pack(_NOP_NOP_TIMESTAMPS, value, echo)


def encode_sack(blocks: list[tuple[int, int]]) -> bytes:
    """4 bytes and 8 for each block; b"" without blocks. Beside timestamps there is room for three."""
    if not blocks:
        return b""
    return bytes((_NOP, _NOP, _SACK, 2 + 8 * len(blocks))) + b"".join(_TWO.pack(*block) for block in blocks)


def _with_options(segment: TcpSegment, options: bytes) -> TcpSegment:
    at, end = 0, len(options)
    timestamp, echo, sack = segment.timestamp, 0, segment.sack
    mss, window_scale, sack_permitted = segment.mss, segment.window_scale, False
    while at < end and options[at] != _END:
        kind = options[at]
        if kind == _NOP:
            at += 1
            continue
        size = options[at + 1] if at + 1 < end else 0
        if size < 2 or at + size > end:
            break
        match kind, size:
            case (8, 10):
                timestamp, echo = _TWO.unpack_from(options, at + 2)
            case (5, 10 | 18 | 26 | 34):
                sack = tuple(_TWO.unpack_from(options, place) for place in range(at + 2, at + size, 8))
            case (2, 4):
                mss = options[at + 2] << 8 | options[at + 3]
            case (3, 3):
                window_scale = min(options[at + 2], MAX_WINDOW_SCALE)
            case (4, 2):
                sack_permitted = True
            case _:
                pass
        at += size
    return segment._replace(
        timestamp=timestamp,
        echo=echo,
        sack=sack,
        mss=mss,
        window_scale=window_scale,
        sack_permitted=sack_permitted,
    )
