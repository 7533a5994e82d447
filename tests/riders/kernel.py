"""A TUN interface with offloads in memory; the kernel behind it is as strict as a kernel, and stricter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import trio

from tunnel.model.buffers import Buffer
from tunnel.model.offload import TUN_OFFLOADS, Offload
from tunnel.network.packet_devices import PacketLink
from tunnel.network.sockets import Sockets
from tunnel.verify.memory.devices import MemoryLink
from tunnel.verify.memory.tunnel_sockets import MemoryTunnel


class KernelDevice:
    """Frames go out by `inject`; what comes in is in `written`."""

    def __init__(self, offloads: frozenset[Offload] = TUN_OFFLOADS) -> None:
        self.name = "p2pt0"
        self.link: PacketLink = MemoryLink((), ())
        self.sockets: Sockets = MemoryTunnel().sockets(tuple)
        self.offloads = offloads
        self.written: list[bytes] = []
        self._bursts: list[Sequence[bytes]] = []
        self._changed = trio.lowlevel.ParkingLot()

    async def read_batch(self) -> Iterable[Buffer]:
        """One burst."""
        await trio.lowlevel.checkpoint()
        while not self._bursts:
            await self._changed.park()
        return self.read_nowait()

    def read_nowait(self) -> Iterable[Buffer]:
        """One burst, if there is one."""
        return self._read(self._bursts.pop(0)) if self._bursts else ()

    def inject(self, *frames: bytes) -> None:
        """What one burst of reads brings."""
        self._bursts.append(frames)
        self._changed.unpark_all()

    def _read(self, frames: Sequence[bytes]) -> Iterator[Buffer]:
        """All lie in one buffer, one after the other is taken."""
        buffer = bytearray(65_536)
        for frame in frames:
            buffer[: len(frame)] = frame
            yield memoryview(buffer)[: len(frame)]

    def write_nowait(self, frame: Buffer) -> bool:
        """Keep a copy."""
        self.written.append(bytes(frame))
        return True

    def close(self) -> None:
        """Nothing is open."""
