"""Data leaves at once as long as the kernel sends it as fast; then it waits here, and the kernel holds little.

    frames of one turn --the kernel has room for all--> `passes`: they leave at once
                      `--it has not--> `hold` --as far as there is room--> `drain`: they leave, fairly

What goes over the link to the server passes at once: it waits in the link. What sessions send, and probes and
heartbeats, does not pass here: it waits for no more than what the kernel holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from tunnel.dataplane.flow import Flow
from tunnel.dataplane.flow_queue import FlowQueue
from tunnel.dataplane.send_backlog import LOOK_AGAIN, SendBacklog
from tunnel.model.buffers import Buffer
from tunnel.wire.ip_packet import stream_of
from tunnel.wire.records import start_of_packet


class Pacing:
    """One for each node: `begin` a turn, send what `passes` and `hold` the rest; `drain` when it is `due`."""

    def __init__(self, unsent: Callable[[], int]) -> None:
        """`unsent`: bytes that the kernel holds and has not sent yet."""
        self._backlog = SendBacklog(unsent)
        self._waiting: FlowQueue[tuple[Flow, bytes]] = FlowQueue()
        self._room, self._asked = 0, -math.inf
        self.due = math.inf
        """When to look again whether there is room; infinity: nothing waits."""

    @property
    def dropped(self) -> int:
        """Frames that waited too long here, or for which there was no room."""
        return self._waiting.dropped

    def begin(self, now: float) -> None:
        """A turn begins in which data is sent."""
        if not self._waiting:
            self._room, self._asked = self._backlog.room(now), now

    def passes(self, flow: Flow, frames: Sequence[Buffer]) -> bool:
        """Whether frames may be sent now, which then must be: several if there is room for all, one if there is any."""
        if all(way.remote is None for way in flow.route):
            return True
        if self._waiting:
            return False
        size = sum(map(len, frames))
        least = size if len(frames) > 1 else 1
        if self._room < least and self._look_again() < least:
            return False
        self._room -= size
        return True

    def hold(self, flow: Flow, frames: Sequence[Buffer], now: float) -> None:
        """Keep copies of well-formed frames."""
        for frame in frames:
            stream = flow, stream_of(frame, start_of_packet(frame))
            self._waiting.put(stream, (flow, bytes(frame)), len(frame), now)
        self.due = min(self.due, now if self._room > 0 else now + LOOK_AGAIN)

    def drain(self, now: float) -> Iterator[tuple[Flow, Sequence[Buffer]]]:
        """What there is room for, each to be sent before the next is taken."""
        self._room = self._backlog.left() if self._asked == now else self._backlog.room(now)
        while self._waiting and self._room > 0:
            rows: dict[Flow, list[bytes]] = {}
            while self._room > 0 and (taken := self._waiting.take(now)) is not None:
                flow, frame = taken
                rows.setdefault(flow, []).append(frame)
                self._room -= len(frame)
            yield from rows.items()
            self._look_again()
        self._backlog.note_sent(now)
        self.due = now + LOOK_AGAIN if self._waiting else math.inf

    def clear(self) -> None:
        """Drop what waits: its interface is gone."""
        self._waiting.clear()
        self.due = math.inf

    def _look_again(self) -> int:
        self._room = self._backlog.left()
        return self._room
