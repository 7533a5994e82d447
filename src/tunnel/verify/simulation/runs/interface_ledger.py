"""The invariant of tunnel interfaces: what a node writes was read from another's interface, as it was, and once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator

import trio

from tunnel.model.buffers import Buffer
from tunnel.model.errors import MalformedFrame
from tunnel.verify.memory.inner_udp import decode_frame, packet_of
from tunnel.verify.simulation.runs.failure import Failure

MOST_FAULTS = 20
_ICMP = (1, 58)


class InterfaceLedger:
    """One for each run. Superpackets count as the datagrams in them. ICMP is left out: nodes write errors of their own.

    Only hashes are kept.
    """

    def __init__(self) -> None:
        self.faults: list[Failure] = []
        self._given: dict[int, str] = {}
        """Who gave what the network has not brought yet."""
        self._counts: Counter[int] = Counter()

    def note_given(self, host: str, frame: Buffer) -> None:
        """A kernel gives a frame to the node of a host."""
        for each in _datagrams_of(frame):
            self._counts[hash((each,))] += 1
            self._given[hash((each,))] = host

    def note_written(self, host: str, frame: Buffer) -> None:
        """The node of a host writes a frame."""
        packet = packet_of(frame)
        if packet[6 if packet[0] >> 4 == 6 else 9] in _ICMP:
            return
        for each in _datagrams_of(frame):
            key = hash((each,))
            if self._given.get(key, host) == host:
                self._report(host, "a packet that no peer's interface gave")
            elif self._counts[key] <= 0:
                self._report(host, "a packet again that it has written before")
            self._counts[key] -= 1

    def _report(self, host: str, what: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            now = trio.current_time()
            self.faults.append(Failure(now, f"at {now:.3f} s {host} writes to its interface {what}", (host,)))


def _datagrams_of(frame: Buffer) -> Iterator[Hashable]:
    """Each datagram of a frame; what is not sound UDP is itself."""
    try:
        yield from decode_frame(frame)
    except MalformedFrame:
        yield bytes(packet_of(frame))
