"""An internet in memory: hosts with addresses, datagrams and byte streams between them, in Trio's time.

    host --transmit--> MemoryInternet --(latency)--> owner of the destination address: a host, or a NAT box
                          |   drop?  watch
                          +-- one heap of events, ordered by time and then by sequence number

No file descriptor, no thread, no real clock; all chance comes from one seeded generator, so a run under
`trio.testing.MockClock` with a seeded scheduler repeats to the byte. Hosts are in host.py.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import NoReturn, Protocol, runtime_checkable

import trio

from tunnel.machines.background import run_beside
from tunnel.verify.memory.host import MemoryHost
from tunnel.verify.memory.packet import Fate, MemoryPacket, Network, Owner

DEFAULT_LATENCY = 0.01
HOPS = 8
"""Routers between any two owners of addresses: a packet whose TTL is not higher expires."""


class Agenda(Protocol):
    """Events to come."""

    @property
    def next_due(self) -> float:
        """When the next event happens; infinity if none is scheduled."""
        ...

    def act_without_task(self) -> None:
        """Perform all events that are due. Called while no task runs; never raises."""
        ...


@runtime_checkable
class Timekeeper(Protocol):
    """A clock that jumps, and performs events on the way: cheaper than a task that sleeps until each."""

    agenda: Agenda | None


class MemoryInternet:
    """The network that hosts are plugged into. Make one with `open_memory_internet`, or start `run` in a nursery.

    May be changed at any moment: `names` (what the resolvers of all hosts know), `drop` (True loses a packet: cuts,
    loss), `watch` (called with each packet's fate, in order), `latency` (seconds one way), `jitter` (added, at most).
    """

    def __init__(self, *, seed: int = 0, latency: float = DEFAULT_LATENCY, jitter: float = 0.0) -> None:
        self.seed = seed
        self.chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.latency = latency
        self.jitter = jitter
        self.names: dict[str, tuple[str, ...]] = {}
        self.drop: Callable[[MemoryPacket], bool] | None = None
        self.watch: Callable[[MemoryPacket, Fate], None] | None = None
        self._latencies: dict[tuple[str, str], float] = {}
        self._owners: dict[str, Owner] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._sleep = trio.CancelScope()
        self._failed = trio.Event()
        self._failure: Exception | None = None

    def add_host(self, name: str, *addresses: str, network: Network | None = None) -> MemoryHost:
        """A host with these addresses, plugged into the internet or into `network`. Its name resolves to them."""
        host = MemoryHost(name, addresses, network=network or self, ether=self, names=self.names, seed=self.seed)
        self.names.setdefault(name, addresses)
        return host

    def set_latency(self, one: str, other: str, latency: float) -> None:
        """Set the seconds one way between two owners of addresses, by name, for both directions."""
        self._latencies[one, other] = self._latencies[other, one] = latency

    def attach(self, address: str, owner: Owner) -> None:
        """Give an address to an owner. Raises ValueError if it is taken."""
        if address in self._owners:
            raise ValueError(f"{address} belongs to {self._owners[address].name}")
        self._owners[address] = owner

    def detach(self, address: str) -> None:
        """Withdraw an address; packets under way to it are lost."""
        del self._owners[address]

    def transmit(self, packet: MemoryPacket) -> None:
        """Route a packet: it arrives after its latency, or is lost."""
        if self.drop is not None and self.drop(packet):
            self.settle(packet, Fate.DROPPED)
        elif packet.ttl <= HOPS:
            self.settle(packet, Fate.EXPIRED)
        else:
            left = packet.ttl - HOPS
            arriving = MemoryPacket(packet.source, packet.destination, packet.payload, left, packet.segment)
            self.schedule(self._latency_of(packet), partial(self._arrive, arriving))

    def settle(self, packet: MemoryPacket, fate: Fate) -> None:
        """Record a packet's fate; the sender of a lost segment sends it again."""
        if self.watch is not None:
            self.watch(packet, fate)
        segment = packet.segment
        if fate is not Fate.DELIVERED and segment is not None and segment.sender is not None:
            segment.sender.retransmit(packet)

    def schedule(self, delay: float, action: Callable[[], None]) -> None:
        """Call `action` in `delay` seconds; at equal times, in the order of scheduling."""
        event = (trio.current_time() + delay, next(self._numbers), action)
        heapq.heappush(self._events, event)
        if self._events[0] is event:
            self._sleep.deadline = event[0]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Perform events as they fall due, until cancelled."""
        task_status.started()
        clock = trio.lowlevel.current_clock()
        if isinstance(clock, Timekeeper):
            await self._run_until_cancelled(clock)
        while True:
            with trio.CancelScope(deadline=self.next_due) as self._sleep:
                await trio.sleep_forever()
            self._act()

    @property
    def next_due(self) -> float:
        """When the next event happens; infinity if none is scheduled."""
        return self._events[0][0] if self._events else math.inf

    def act_without_task(self) -> None:
        """Perform all events that are due; errors are raised in `run`."""
        try:
            self._act()
        except Exception as error:
            self._failure = error
            self._failed.set()

    def _act(self) -> None:
        now = trio.current_time()
        while self._events and self._events[0][0] <= now:
            _, _, action = heapq.heappop(self._events)
            action()

    async def _run_until_cancelled(self, clock: Timekeeper) -> NoReturn:
        clock.agenda = self
        try:
            await self._failed.wait()
        finally:
            clock.agenda = None
        assert self._failure is not None
        raise self._failure

    def _arrive(self, packet: MemoryPacket) -> None:
        owner = self._owners.get(packet.destination.host)
        if owner is None:
            self.settle(packet, Fate.UNROUTABLE)
        else:
            owner.deliver(packet)

    def _latency_of(self, packet: MemoryPacket) -> float:
        latency = self.latency
        sender, receiver = self._owners.get(packet.source.host), self._owners.get(packet.destination.host)
        if sender is not None and receiver is not None:
            latency = self._latencies.get((sender.name, receiver.name), latency)
        return latency + self.chance.uniform(0.0, self.jitter) if self.jitter else latency


@asynccontextmanager
async def open_memory_internet(
    *, seed: int = 0, latency: float = DEFAULT_LATENCY, jitter: float = 0.0
) -> AsyncIterator[MemoryInternet]:
    """An internet that runs while the block runs."""
    internet = MemoryInternet(seed=seed, latency=latency, jitter=jitter)
    async with run_beside(internet.run):
        yield internet
