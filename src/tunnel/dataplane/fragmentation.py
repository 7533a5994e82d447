"""Cuts a sealed record into fragments, the last thing before it is sent.

    sealed record   |----------------------------------------|
    buffers         | prefix | piece | prefix | piece | ... | prefix | rest |       two of them make up a datagram

A prefix is the header of a fragment, behind the head of its circuit if there is one. All views that this needs are made
once for each size of fragment; for a record only the prefixes are written anew, by two copies. It costs a twentieth of
what the AEAD does; packing forty headers and slicing forty views cost one and a half times as much as that.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnel.model.buffers import Buffer
from tunnel.network.datagrams import MAX_SEGMENTS
from tunnel.wire.frames import HEADER_BYTES, TAG_BYTES
from tunnel.wire.records import MAX_RECORD

MAX_SEALED = MAX_RECORD + TAG_BYTES
_NUMBERS = bytes(range(MAX_SEGMENTS))
_KEPT = 16
"""Sizes of fragment for which the views are kept."""


class Fragmentation:
    """One for each node. Seal into `room(size)`, then `cut`; what it returns is valid until the next record."""

    def __init__(self) -> None:
        self._sealed = memoryview(bytearray(MAX_SEALED))
        self._views: dict[tuple[int, int], _Views] = {}

    def room(self, size: int) -> memoryview:
        """Where a sealed record of so many bytes belongs."""
        return self._sealed[:size]

    def cut(self, prefix: bytes, size: int, datagram_size: int) -> tuple[Sequence[Buffer], int, int]:
        """The buffers of the sealed record's datagrams, how many make up one, and the bytes of each but the last.

        `prefix` ends with the header of fragment 0, `size` is that of the sealed record, and no datagram is longer than
        `datagram_size` and what precedes the header.
        """
        key = len(prefix), datagram_size
        views = self._views.get(key)
        if views is None:
            if len(self._views) >= _KEPT:
                del self._views[next(iter(self._views))]
            views = self._views[key] = _Views(self._sealed, len(prefix), datagram_size - HEADER_BYTES)
        return views.cut(prefix, size)


def count_fragments(sealed_size: int, datagram_size: int) -> int:
    """How many fragments a sealed record of so many bytes has."""
    return -(-sealed_size // (datagram_size - HEADER_BYTES))


class _Views:
    """The views for one length of prefix and of piece."""

    def __init__(self, sealed: memoryview, prefix_size: int, piece: int) -> None:
        self._sealed = sealed
        self._piece = piece
        self._size = prefix_size
        self._prefixes = bytearray(MAX_SEGMENTS * prefix_size)
        prefixes = memoryview(self._prefixes)
        self._buffers: list[Buffer] = []
        for number in range(min(MAX_SEGMENTS, -(-MAX_SEALED // piece))):
            self._buffers.append(prefixes[number * prefix_size : (number + 1) * prefix_size])
            self._buffers.append(sealed[number * piece : (number + 1) * piece])

    def cut(self, prefix: bytes, size: int) -> tuple[Sequence[Buffer], int, int]:
        piece = self._piece
        if size <= piece:
            return [prefix, self._sealed[:size]], 2, 0
        count = -(-size // piece)
        prefixes, step = self._prefixes, self._size
        prefixes[: count * step] = prefix * count
        prefixes[step - HEADER_BYTES + 1 : count * step : step] = _NUMBERS[:count]
        buffers = self._buffers[: 2 * count]
        buffers[-1] = self._sealed[(count - 1) * piece : size]
        return buffers, 2, step + piece
