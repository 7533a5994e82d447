"""Which frames share a record: as many small ones of one read burst as its size allows.

    frames        small small small | superpacket | small      superpacket larger than a record may be
    records       [bundle         ]   [one frame ]  [one frame]  [one frame] [one frame] ...

A superpacket that is too large is split at the boundaries of its segments. One packet is never split, whatever its
size: then the record has more fragments than it should.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnel.dataplane.superpacket import MAX_TCP_SEGMENTS, segment_size, split
from tunnel.model.buffers import Buffer
from tunnel.wire.records import APPLICATION, BUNDLED_OVERHEAD, encode_bundle
from tunnel.wire.virtio import GSO_UDP_L4

HEADERS = 140
"""More bytes than the headers of a superpacket have: virtio, IPv6 or IPv4 with options, TCP with options."""
_APPLICATION = APPLICATION[0]


def pack(frames: Sequence[Buffer], limit: int, bundle_limit: int) -> Sequence[Buffer]:
    """The plaintexts of records in order: of at most `limit` bytes, or `bundle_limit` if several frames share it, or if
    it is a superpacket of UDP.

    An application's datagram is one of its own.
    """
    if len(frames) == 1 and len(frames[0]) <= limit:
        return _fit(frames[0], limit, bundle_limit)
    records: list[Buffer] = []
    bundle: list[Buffer] = []
    held = 1
    for frame in frames:
        for part in _fit(frame, limit, bundle_limit):
            needed, is_alone = len(part) + BUNDLED_OVERHEAD, part[0] == _APPLICATION
            if is_alone or held + needed > bundle_limit:
                _close(bundle, records)
                bundle, held = [], 1
            if is_alone or held + needed > bundle_limit:
                records.append(part)
            else:
                bundle.append(part)
                held += needed
    _close(bundle, records)
    return records


def _close(bundle: list[Buffer], records: list[Buffer]) -> None:
    if len(bundle) > 1:
        records.append(encode_bundle(bundle))
    else:
        records += bundle


def _fit(frame: Buffer, limit: int, bundle_limit: int) -> Sequence[Buffer]:
    """Also one that is small enough: our kernel may put more segments into it than the peer's takes."""
    size = 0 if frame[0] == _APPLICATION else segment_size(frame)
    if not size:
        return (frame,)
    if frame[1] == GSO_UDP_L4:
        limit = bundle_limit
    return split(frame, max(1, (limit - HEADERS) // size) if len(frame) > limit else MAX_TCP_SEGMENTS)
