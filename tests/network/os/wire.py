"""Two TUN interfaces whose packets go from one to the other: a tunnel without anything in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.network.os.tun_devices import RealDevice
from tunnel.wire.records import start_of_packet

MTU = 1400
KERNEL = ("10.86.0.1/16", "fd00:1::1/48")
NAMESPACE = ("10.86.0.2/16", "fd00:1::2/48")


def host_of(device: RealDevice, *, is_ipv6: bool) -> str:
    """Its address of that family."""
    return next(str(address.ip) for address in device.link.addresses if (address.version == 6) is is_ipv6)


def wildcard(*, is_ipv6: bool, port: int = 0) -> Endpoint:
    return Endpoint("::" if is_ipv6 else "0.0.0.0", port)


class Wire:
    """Counts the superpackets that it carries."""

    def __init__(self) -> None:
        self.superpackets = 0

    async def carry(self, source: RealDevice, destination: RealDevice) -> None:
        while True:
            for frame in await source.read_batch():
                self.superpackets += len(frame) - start_of_packet(frame) > MTU
                destination.write_nowait(frame)


@asynccontextmanager
async def wired(one: RealDevice, other: RealDevice) -> AsyncIterator[Wire]:
    """They reach each other in the block."""
    wire = Wire()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.carry, one, other)
        nursery.start_soon(wire.carry, other, one)
        with trio.fail_after(20):
            yield wire
        nursery.cancel_scope.cancel()
