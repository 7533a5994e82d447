"""What the kernel can do for us: handle many segments or datagrams as one. Each has a plain fallback."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from tunnel.model.errors import SettingsError


class Offload(Enum):
    """The value is the name in `status` and in settings."""

    TUN_HEADER = "tun-header"
    """The TUN interface passes packets with a virtio-net header, and leaves checksums to its reader."""
    TCP_SEGMENTATION = "tso"
    """It passes TCP superpackets, to be cut into segments by its reader (TSO4 and TSO6)."""
    UDP_SEGMENTATION = "uso"
    """The same for UDP (USO4 and USO6), from Linux 6.2 on."""
    UDP_SEGMENT = "udp-segment"
    """One call sends many datagrams (UDP_SEGMENT), from Linux 4.18 on."""
    UDP_GRO = "udp-gro"
    """One call receives many datagrams (UDP_GRO), from Linux 5.0 on."""


TUN_OFFLOADS = frozenset({Offload.TUN_HEADER, Offload.TCP_SEGMENTATION, Offload.UDP_SEGMENTATION})
SOCKET_OFFLOADS = frozenset({Offload.UDP_SEGMENT, Offload.UDP_GRO})


def parse_offloads(names: Iterable[str]) -> frozenset[Offload]:
    """Offloads by their names. Raises SettingsError, which names all of them."""
    known = {offload.value: offload for offload in Offload}
    for name in names:
        if name not in known:
            raise SettingsError(f"there is no offload {name!r}: it is one of {offload_names()}")
    return frozenset(known[name] for name in names)


def offload_names() -> str:
    """All names, for people."""
    return ", ".join(offload.value for offload in Offload)
