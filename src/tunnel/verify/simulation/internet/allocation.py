"""How a NAT chooses external ports: one class for each way that RFC 4787, section 4.2, and measurements know.

An allocator only proposes a port; the mapping table decides by `is_free` whether it can be had. The other subscribers
of a carrier's NAT are not simulated one by one: they are a Poisson process that advances a sequential allocator, and it
is evaluated only when a port is asked for.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Protocol

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import SettingsError
from tunnel.model.nat import Allocation
from tunnel.verify.reachability.topology import Nat

DRAWS = 64
"""Random tries. If all fail, the range is nearly full, and the next free port above the last try is taken."""
FEW = 30.0
"""Up to this mean a Poisson number is drawn exactly, above it as a rounded normal one."""


class Allocator(Protocol):
    """Chooses the external port of a new mapping."""

    def take(self, inner: Endpoint, is_free: Callable[[int], bool]) -> int | None:
        """A free port for this inner endpoint; None when there is none."""
        ...


def allocator_of(nat: Nat, chance: random.Random) -> Allocator:
    """The allocator of a NAT. Raises SettingsError if the topology does not say which one."""
    if not 0 < nat.first_port <= nat.last_port < 65536:
        raise SettingsError(f"a NAT has no ports from {nat.first_port} to {nat.last_port}")
    match nat.allocation:
        case Allocation.PRESERVING:
            return PreservingAllocator(nat)
        case Allocation.SEQUENTIAL:
            return SequentialAllocator(nat, chance)
        case Allocation.RANDOM:
            return RandomAllocator(nat, chance)
        case Allocation.BLOCK:
            return BlockAllocator(nat, chance)
        case Allocation.UNKNOWN:
            raise SettingsError("a simulated NAT must know how it allocates ports")


class PreservingAllocator:
    """The inner port itself if it is free, else the next free one above it."""

    def __init__(self, nat: Nat) -> None:
        self._first, self._last = nat.first_port, nat.last_port

    def take(self, inner: Endpoint, is_free: Callable[[int], bool]) -> int | None:
        """A free port."""
        start = inner.port if self._first <= inner.port <= self._last else self._first
        return _next_free(start, self._first, self._last, 1, is_free)


class SequentialAllocator:
    """One counter for all subscribers, including foreign ones: each mapping advances it by `step`."""

    def __init__(self, nat: Nat, chance: random.Random) -> None:
        self._first, self._last, self._step, self._load = nat.first_port, nat.last_port, nat.step, nat.foreign_load
        self._chance = chance
        self._next = chance.randint(nat.first_port, nat.last_port)
        self._asked_at = trio.current_time()

    def take(self, inner: Endpoint, is_free: Callable[[int], bool]) -> int | None:
        """The counter's next free port."""
        del inner
        now = trio.current_time()
        others = poisson(self._load * (now - self._asked_at), self._chance) if self._load else 0
        self._asked_at = now
        start = self._wrapped(self._next + others * self._step)
        port = _next_free(start, self._first, self._last, self._step, is_free)
        if port is not None:
            self._next = self._wrapped(port + self._step)
        return port

    def _wrapped(self, port: int) -> int:
        return self._first + (port - self._first) % (self._last - self._first + 1)


class RandomAllocator:
    """Any port, all equally likely. What other subscribers hold does not change what a uniform draw tells."""

    def __init__(self, nat: Nat, chance: random.Random) -> None:
        self._first, self._last = nat.first_port, nat.last_port
        self._chance = chance

    def take(self, inner: Endpoint, is_free: Callable[[int], bool]) -> int | None:
        """A free port."""
        del inner
        return _any_free(self._first, self._last, self._chance, is_free)


class BlockAllocator:
    """Each subscriber gets a block of ports at its first mapping and keeps it; within it, any port."""

    def __init__(self, nat: Nat, chance: random.Random) -> None:
        self._size = nat.block_size
        self._free = list(range(nat.first_port, nat.last_port - nat.block_size + 2, nat.block_size))
        self._chance = chance
        self._blocks: dict[str, int] = {}

    def take(self, inner: Endpoint, is_free: Callable[[int], bool]) -> int | None:
        """A free port of the subscriber's block; None when it is used up, or when there is no block left."""
        first = self._blocks.get(inner.host)
        if first is None:
            if not self._free:
                return None
            first = self._blocks[inner.host] = self._free.pop(self._chance.randrange(len(self._free)))
        return _any_free(first, first + self._size - 1, self._chance, is_free)


def poisson(mean: float, chance: random.Random) -> int:
    """A Poisson number: how many events happened if `mean` are expected."""
    if mean > FEW:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    count, product, limit = 0, chance.random(), math.exp(-mean)
    while product > limit:
        count += 1
        product *= chance.random()
    return count


def _any_free(first: int, last: int, chance: random.Random, is_free: Callable[[int], bool]) -> int | None:
    port = first
    for _ in range(DRAWS):
        port = chance.randint(first, last)
        if is_free(port):
            return port
    return _next_free(port, first, last, 1, is_free)


def _next_free(start: int, first: int, last: int, step: int, is_free: Callable[[int], bool]) -> int | None:
    """The first free port from `start` on in steps of `step`; if a whole round finds none, in steps of one."""
    size = last - first + 1
    for stride in (step, 1):
        for count in range(size):
            port = first + (start - first + count * stride) % size
            if is_free(port):
                return port
    return None
