"""One link between a node and the server: signals first, then relay frames in fair order; one writer.

    send_signal --> signal queue --+
                                   +--> run_writer --> MessageChannel --> the other side's receive
    send_relay ---> relay queue ---+
         `--> MessageChannel at once, where nothing is before it

Both ends use it alike. A signal is never dropped: a link that can take no more breaks. A relay frame never blocks: it
is dropped when its lane is full or it is too old. Nothing here knows what a signal means.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import trio

from tunnel.machines.trace_hook import TRACE_HOOK
from tunnel.model.errors import MalformedFrame
from tunnel.model.timings import Timings
from tunnel.network.relay_queue import QueueBudget, RelayQueue
from tunnel.wire.relay_batch import decode_relay_batch, encode_relay_batch, is_relay_batch
from tunnel.wire.signals import PeerUp, Signal, decode_signal, encode_signal

MAX_WAITING_SIGNALS = 256
BATCH_BYTES = 64 * 1024
"""The longest message of relay frames: room for one whole record, or for many small datagrams."""
LEAST_WRITE, MOST_WRITE = 16 * 1024, 256 * 1024
"""Bytes of relay frames that one write of the stream carries."""
COPIES = 3
"""Of what is being written there are so many: the messages, their frames, and what TLS made of these."""
QUICK_WRITE, SLOW_WRITE = 0.002, 0.005
"""Seconds that a write may take before the next ones carry no more, and less: signals wait for it to end."""
SIGNALS_AT_ONCE = 8
"""Signals that one write of the stream carries."""
SHARED_SIGNALS = 512
"""Announcements whose encoding is kept: each is told to many."""


class Messages(Protocol):
    """The channel under a link; `MessageChannel` is one."""

    async def send(self, *messages: bytes) -> None:
        """Send messages, together where that is cheaper, after what `send_nowait` has left."""
        ...

    @property
    def takes_nowait(self) -> bool:
        """Whether `send_nowait` may be called now."""
        ...

    def send_nowait(self, *messages: bytes) -> bool:
        """Send messages without waiting. False: the rest waits for `send`."""
        ...

    async def receive(self) -> bytes:
        """The next message."""
        ...


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """What a link did so far. Relay counts are datagrams."""

    signals_sent: int
    signals_received: int
    signals_unknown: int
    relay_sent: int
    relay_received: int
    relay_dropped_full: int
    relay_dropped_old: int
    malformed_batches: int
    signals_waiting: int
    relay_bytes_waiting: int


class Link:
    """Sends and receives signals and relayed datagrams. Run `run_writer` in one task and call `receive` in another.

    `relay_queue` is the number of bytes that may wait for one handle; `budget` limits what waits on all links together.
    """

    def __init__(
        self, channel: Messages, *, timings: Timings, relay_queue: int, budget: QueueBudget | None = None
    ) -> None:
        self._channel = channel
        self._send_patience = timings.send_patience
        self._signals: deque[Signal] = deque()
        self._budget = budget or QueueBudget(sys.maxsize)
        self._relay = RelayQueue(per_lane=relay_queue, max_wait=timings.relay_max_wait, budget=self._budget)
        self._write_bytes = BATCH_BYTES
        self._unsent_write = 0
        """Bytes that count as written until the writer sends what `send_nowait` left."""
        self._work = trio.lowlevel.ParkingLot()
        self._progress = trio.lowlevel.ParkingLot()
        self._broken: str | None = None
        self._unsent = 0
        self._signals_sent = 0
        self._signals_received = 0
        self._signals_unknown = 0
        self._relay_sent = 0
        self._relay_received = 0
        self._malformed_batches = 0
        self._trace_hook = TRACE_HOOK.get()

    def send_signal(self, signal: Signal) -> None:
        """Queue a signal. Never fails here: when too many wait, the link breaks and `run_writer` raises.

        So a slow receiver costs a sender to many nothing.
        """
        if self._broken is not None:
            return
        if len(self._signals) >= MAX_WAITING_SIGNALS:
            self._break(f"{MAX_WAITING_SIGNALS} signals wait for a receiver that takes none")
            return
        self._signals.append(signal)
        if self._trace_hook is not None:
            self._trace_hook.see_signal(True, signal)
        self._unsent += 1
        self._work.unpark_all()

    def send_relay(self, handle: bytes, datagram: bytes) -> bool:
        """Send a datagram of the lane `handle` (8 bytes), or queue it. False: dropped, it is full or the link broke."""
        is_queued = self.queue_relay(handle, datagram)
        self.flush_relay()
        return is_queued

    def queue_relay(self, handle: bytes, datagram: bytes) -> bool:
        """The same for several that leave together, at the `flush_relay` that must follow."""
        return self._broken is None and self._relay.put(handle, datagram, trio.current_time())

    def flush_relay(self) -> None:
        """Send what is queued: at once if nothing is before it, else the writer does it in its turn.

        To wake the writer costs as much as to send a record.
        """
        if self._relay and not self._signals and not self._unsent_write and self._channel.takes_nowait:
            self._send_nowait()
        if (self._relay or self._unsent_write) and self._work:
            self._work.unpark_all()

    def _send_nowait(self) -> None:
        batches = self._take_batches(trio.current_time())
        if not batches:
            return
        messages = [encode_relay_batch(batch) for batch in batches]
        if not self._channel.send_nowait(*messages):
            self._unsent_write = COPIES * sum(map(len, messages))
            self._budget.begin_write(self._unsent_write)
        else:
            self._fit_writes(0.0)
        self._relay_sent += sum(map(len, batches))

    def forget_old_relay(self) -> None:
        """Drop relay frames that waited too long now, not when their turn comes: the other side may take none."""
        self._relay.forget_old(trio.current_time())

    async def receive(self) -> Signal | list[tuple[bytes, bytes]]:
        """The next signal, or the (handle, datagram) pairs of the next relay batch.

        Messages without content for us (see `decode`) are skipped. Raises what `receive_message` and `decode` raise.
        """
        while True:
            received = self.decode(await self.receive_message())
            if received is not None:
                return received

    async def receive_message(self) -> bytes:
        """The next message, for `decode`. Raises whatever the channel's `receive` raises."""
        return await self._channel.receive()

    def decode(self, message: bytes) -> Signal | list[tuple[bytes, bytes]] | None:
        """A received signal, or the pairs of a relay batch; None for an empty batch and a signal of a later version.

        A damaged batch yields the pairs before the damage. Raises MalformedFrame for a damaged signal.
        """
        if is_relay_batch(message):
            pairs = self._decode_batch(message)
            self._relay_received += len(pairs)
            return pairs or None
        signal = decode_signal(message)
        if signal is None:
            self._signals_unknown += 1
            return None
        self._signals_received += 1
        if self._trace_hook is not None:
            self._trace_hook.see_signal(False, signal)
        return signal

    async def run_writer(self) -> None:
        """Send what is queued, for ever; nothing else may send on the channel.

        Raises trio.TooSlowError when the other side takes nothing for `send_patience`, or for less time while all links
        together hold too much; trio.BrokenResourceError when the link or its channel broke. A cancelled writer leaves a
        broken channel behind.
        """
        try:
            with trio.CancelScope() as patience:
                await self._write(patience)
            raise trio.TooSlowError
        finally:
            self._break("the link's writer ended")

    async def wait_signals_sent(self) -> None:
        """Return when every signal queued so far is handed to the channel: to close after a last signal.

        Raises trio.BrokenResourceError if the link breaks before that. Bound it by a scope of your own.
        """
        await trio.lowlevel.checkpoint()
        target = self._signals_sent + self._unsent
        while self._signals_sent < target:
            if self._broken is not None:
                raise trio.BrokenResourceError(self._broken)
            await self._progress.park()

    def statistics(self) -> LinkStatistics:
        """The counts so far."""
        return LinkStatistics(
            signals_sent=self._signals_sent,
            signals_received=self._signals_received,
            signals_unknown=self._signals_unknown,
            relay_sent=self._relay_sent,
            relay_received=self._relay_received,
            relay_dropped_full=self._relay.dropped_full,
            relay_dropped_old=self._relay.dropped_old,
            malformed_batches=self._malformed_batches,
            signals_waiting=self._unsent,
            relay_bytes_waiting=self._relay.size,
        )

    async def _write(self, patience: trio.CancelScope) -> None:
        """The scope's deadline is always the one of the write that is under way."""
        while True:
            if self._broken is not None:
                raise trio.BrokenResourceError(self._broken)
            begun = trio.current_time()
            if self._unsent_write:  # its bytes go first anyway; so it can end when all links hold too much
                patience.deadline = begun + self._send_patience
                size = self._unsent_write
                self._end_unsent_write()
                with self._budget.writing(size, patience):
                    await self._channel.send()
                self._fit_writes(trio.current_time() - begun)
            elif self._signals:
                patience.deadline = begun + self._send_patience
                await self._send_signals()
            elif batches := self._take_batches(begun):
                patience.deadline = begun + self._send_patience
                messages = [encode_relay_batch(batch) for batch in batches]
                with self._budget.writing(COPIES * sum(map(len, messages)), patience):
                    await self._channel.send(*messages)
                self._relay_sent += sum(map(len, batches))
                self._fit_writes(trio.current_time() - begun)
            elif not self._relay:
                patience.deadline = math.inf
                await self._work.park()

    def _take_batches(self, now: float) -> list[list[tuple[bytes, bytes]]]:
        """What one write carries, as messages: none is small because others took the room."""
        batches, room = [], min(self._write_bytes, max(self._budget.free_share // COPIES, LEAST_WRITE))
        while batch := self._relay.take_batch(now, min(room, BATCH_BYTES)):
            batches.append(batch)
            room -= sum([len(datagram) for _, datagram in batch])
            if room < BATCH_BYTES // 2:
                break
        return batches

    def _fit_writes(self, took: float) -> None:
        """Write more at once on a fast line, where each write costs, and less on a slow one, where signals wait."""
        if took < QUICK_WRITE:
            self._write_bytes = min(2 * self._write_bytes, MOST_WRITE)
        elif took > SLOW_WRITE:
            self._write_bytes = max(self._write_bytes // 2, LEAST_WRITE)

    async def _send_signals(self) -> None:
        """Those that wait first, a few at once."""
        count = min(len(self._signals), SIGNALS_AT_ONCE)
        await self._channel.send(*[_encode(self._signals.popleft()) for _ in range(count)])
        self._signals_sent += count
        self._unsent -= count
        self._progress.unpark_all()

    def _break(self, why: str) -> None:
        if self._broken is None:
            self._broken = why
            self._relay.clear()
            self._end_unsent_write()
            self._work.unpark_all()
            self._progress.unpark_all()

    def _end_unsent_write(self) -> None:
        self._budget.end_write(self._unsent_write)
        self._unsent_write = 0

    def _decode_batch(self, message: bytes) -> list[tuple[bytes, bytes]]:
        pairs: list[tuple[bytes, bytes]] = []
        try:
            for pair in decode_relay_batch(message):
                pairs.append(pair)  # noqa: PERF402 - pairs read before the damage are kept
        except MalformedFrame:
            self._malformed_batches += 1
        return pairs


def _encode(signal: Signal) -> bytes:
    return _encode_shared(signal) if isinstance(signal, PeerUp) else encode_signal(signal)


@lru_cache(SHARED_SIGNALS)
def _encode_shared(signal: PeerUp) -> bytes:
    return encode_signal(signal)
