"""A wire with a delay: carries every Ethernet frame between two interfaces, later. A program, run by its path.

    python -I -S delay_box.py INTERFACE INTERFACE MILLISECONDS

It uses the standard library alone, so that it starts in some ten milliseconds. It prints one line, `ready`, and ends
when its stdin does: with the lab's owner, however that ends. Frames keep their order. Offloads survive: each frame
travels with its virtio header (PACKET_VNET_HDR), so a TCP superpacket of 64 KiB crosses in one piece.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence

# linux/if_packet.h, asm-generic/socket.h: not in the socket module
_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_PACKET_IGNORE_OUTGOING = 23
_SO_RCVBUFFORCE = 33
_SO_SNDBUFFORCE = 32
_ETH_P_ALL = 3

_BUFFER = 32 << 20
_LARGEST = 10 + 14 + 65_536 + 64
_BURST = 64
_MAX_WAITING = 64 << 20  # bytes in one direction; beyond that a frame is lost, as in any queue


class _Direction:
    """From one end to the other."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay: float) -> None:
        self.source = source
        self._sink = sink
        self._delay = delay
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._bytes = 0

    def take(self) -> None:
        due = time.monotonic() + self._delay
        for _ in range(_BURST):
            try:
                frame = self.source.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError:  # the link went down, or a frame that no virtio header can describe
                return
            if self._bytes + len(frame) <= _MAX_WAITING:
                self._waiting.append((due, frame))
                self._bytes += len(frame)

    def next_due(self) -> float | None:
        return self._waiting[0][0] if self._waiting else None

    def deliver(self) -> None:
        now = time.monotonic()
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            _, frame = waiting.popleft()
            self._bytes -= len(frame)
            try:
                self._sink.send(frame)
            except OSError:  # a full queue or a link that is down: the frame is lost, as on any wire
                continue


def _open_end(interface: str) -> socket.socket:
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    end.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    end.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    end.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
    end.bind((interface, _ETH_P_ALL))
    end.setblocking(False)
    return end


def main(arguments: Sequence[str]) -> None:
    """Carry frames until stdin ends."""
    near, far = _open_end(arguments[0]), _open_end(arguments[1])
    delay = float(arguments[2]) / 1000
    directions = (_Direction(near, far, delay), _Direction(far, near, delay))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        due = [moment for direction in directions if (moment := direction.next_due()) is not None]
        patience = max(0.0, min(due) - time.monotonic()) if due else None
        readable, _, _ = select.select([near, far, sys.stdin], [], [], patience)
        for direction in directions:
            direction.deliver()
            if direction.source in readable:
                direction.take()
        if sys.stdin in readable:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
