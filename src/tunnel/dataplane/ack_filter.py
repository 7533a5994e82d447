"""Of the TCP acknowledgements of one flow in one read burst, the last says all: those before it need not be sent.

All of a burst share a record, so they would reach the sender at once; TCP acknowledges cumulatively (RFC 9293 section
3.4). Whatever says more stays (compare RFC 3449 section 5.2.2): data, SYN, FIN, RST, PSH, SACK blocks, changed ECN
flags, and an acknowledgement of nothing new, which is a duplicate or an update of the window.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tunnel.model.buffers import Buffer
from tunnel.wire.virtio import VIRTIO_BYTES

_TCP = 6
_ACK = 0x10
_TIMESTAMPS = b"\x01\x01\x08\x0a"
"""The options of nearly every acknowledgement: two of no operation, then timestamps (RFC 7323 appendix A)."""
_HALF = 1 << 31


class _Shape:
    """What frames of one length look like if they are pure acknowledgements."""

    def __init__(self, at: int, *, is_ipv4: bool, has_timestamps: bool) -> None:
        self._version = at, 0x45 if is_ipv4 else 0x60, 0xFF if is_ipv4 else 0xF0
        self._protocol = at + (9 if is_ipv4 else 6)
        tcp = at + (20 if is_ipv4 else 40)
        self.size = tcp + (32 if has_timestamps else 20)
        self._offset = tcp + 12
        self._ends = bytes([(self.size - tcp) // 4 << 4, _ACK])
        self._options = tcp + 20 if has_timestamps else 0
        ip = f"{at}s4s2x4s2x8s" if is_ipv4 else f"{at}s40s"
        self.unpack = struct.Struct(f"!{ip}8s4x2s4x2s{'4s' if has_timestamps else ''}").unpack_from
        """What is equal in acknowledgements of one flow: all but identification, checksums, acknowledgement number,
        window and timestamps."""
        self.number = tcp + 8
        """Where the acknowledgement number is."""

    def fits(self, frame: Buffer) -> bool:
        """Whether a frame of this length is a pure acknowledgement."""
        at, version, mask = self._version
        options = self._options
        return (
            frame[at] & mask == version
            and frame[self._protocol] == _TCP
            and frame[self._offset : self._offset + 2] == self._ends
            and (not options or frame[options : options + 4] == _TIMESTAMPS)
        )


_SHAPES = {
    shape.size: shape
    for shape in (
        _Shape(at, is_ipv4=is_ipv4, has_timestamps=has_timestamps)
        for at in (0, VIRTIO_BYTES)
        for is_ipv4 in (True, False)
        for has_timestamps in (True, False)
    )
}
_unpack_number = struct.Struct("!I").unpack_from


def filter_acks(frames: Sequence[Buffer]) -> list[Buffer]:
    """The frames of one read burst, in order, without acknowledgements that a later one makes superfluous."""
    kept: list[Buffer] = []
    last: dict[tuple[bytes, ...], tuple[int, int]] = {}
    superfluous: list[int] = []
    for frame in frames:
        shape = _SHAPES.get(len(frame))
        if shape is not None:
            flow = shape.unpack(frame)
            before = last.get(flow)
            (number,) = _unpack_number(frame, shape.number)
            if before is not None:
                position, earlier = before
                is_new = 0 < (number - earlier) % (2 * _HALF) < _HALF
                if is_new and position >= 0:
                    superfluous.append(position)
                last[flow] = (len(kept) if is_new else -1), number
            elif shape.fits(frame):
                last[flow] = len(kept), number
        kept.append(frame)
    if superfluous:
        for position in sorted(superfluous, reverse=True):
            del kept[position]
    return kept
