"""Clock, entropy and interfaces of a machine in memory."""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from tunnel.model.routes import Gateway, Route
from tunnel.network.suspend_detection import is_sign_of_a_copy

WALL_AT_ZERO = 1_800_000_000.0
"""Unix time when Trio's clock shows 0."""


class MemoryClock:
    """A wall clock that follows Trio's clock; `wall_offset` makes it jump, `wake` reports that the machine slept."""

    def __init__(self) -> None:
        self._wall_offset = 0.0
        self._jumped = trio.lowlevel.ParkingLot()
        self.slept = 0.0
        self._waiters = trio.lowlevel.ParkingLot()

    def wall(self) -> float:
        """Unix time."""
        return WALL_AT_ZERO + self.wall_offset + trio.current_time()

    async def wait_slept(self) -> float:
        """Wait for the next sleep of the machine, and return its seconds."""
        before = self.slept
        await self._waiters.park()
        return self.slept - before

    @property
    def wall_offset(self) -> float:
        """Seconds by which the wall clock was set forward since the start."""
        return self._wall_offset

    @wall_offset.setter
    def wall_offset(self, offset: float) -> None:
        if self._jumped and is_sign_of_a_copy(self.wall(), offset - self._wall_offset):
            self._jumped.unpark_all()
        self._wall_offset = offset

    async def wait_copied(self) -> str:
        """Return when the wall clock is set forward."""
        before = self._wall_offset
        await self._jumped.park()
        return f"the wall clock was set forward by {self._wall_offset - before:.0f} s"

    def wake(self, slept: float) -> None:
        """The machine has slept for so many seconds until now."""
        self.slept += slept
        self._waiters.unpark_all()


class MemoryEntropy:
    """Repeatable randomness: for tests and simulations only."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self.chance = random.Random(source.random())  # noqa: S311 - repeatable on purpose

    def token(self, size: int) -> bytes:
        """`size` bytes."""
        return self._source.randbytes(size)


class MemoryInterfaces:
    """The addresses of a host, and notice of their changes. `find_gateways` may be replaced.

    `nested` are the addresses that are reached through other VPNs and overlays.
    """

    def __init__(self) -> None:
        self.nested: set[str] = set()
        self.find_gateways: Callable[[], tuple[Gateway, ...]] = tuple
        self.known_routes: tuple[Route, ...] = ()
        self.known_resolvers: tuple[str, ...] = ()
        self._addresses: tuple[str, ...] = ()
        self._waiters = trio.lowlevel.ParkingLot()

    def addresses(self) -> tuple[str, ...]:
        """All addresses, including loopback, sorted."""
        loopback = ("127.0.0.1", "::1") if any(":" in address for address in self._addresses) else ("127.0.0.1",)
        return tuple(sorted({*self._addresses, *loopback}))

    def is_nested(self, host: str) -> bool:
        """Whether this address is reached through an overlay."""
        return host in self.nested

    def gateways(self) -> tuple[Gateway, ...]:
        """The next hops of the default routes: what `find_gateways` returns."""
        return self.find_gateways()

    def routes(self) -> tuple[Route, ...]:
        """`known_routes`."""
        return self.known_routes

    def resolvers(self) -> tuple[str, ...]:
        """`known_resolvers`."""
        return self.known_resolvers

    async def wait_change(self) -> None:
        """Return at the next change."""
        await self._waiters.park()

    def change(self, addresses: tuple[str, ...]) -> None:
        """Replace the host's addresses."""
        changed = addresses != self._addresses
        self._addresses = addresses
        if changed and self._waiters:
            self._waiters.unpark_all()
