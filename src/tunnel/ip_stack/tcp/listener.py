"""The passive side: half-open connections and those that wait for `take`, both bounded."""

from __future__ import annotations

from collections import deque

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.connection import TcpConnection
from tunnel.ip_stack.tcp.errors import TcpError
from tunnel.ip_stack.tcp.initial_numbers import InitialNumberSource
from tunnel.model.endpoint import Endpoint
from tunnel.wire.tcp import ACK, RST, SYN, TcpSegment


class Listener:
    """Listens on one port. The stack keeps the table of connections by endpoints; this one only counts its own.

    For a SYN to its port: `connection = listener.open(...)`. After each `handle` or `timeout` of a connection that is
    not established: `listener.settle(connection)`. `take` gives those that are established, in order.
    """

    def __init__(self, config: TcpConfig, numbers: InitialNumberSource, backlog: int = 128) -> None:
        """`backlog`: the most that wait for `take`. As many more may be half-open."""
        self._config, self._numbers, self._backlog = config, numbers, backlog
        self._half_open: dict[int, TcpConnection] = {}
        self._waiting: deque[TcpConnection] = deque()

    @property
    def half_open(self) -> int:
        """Connections whose SYN is not answered yet."""
        return len(self._half_open)

    @property
    def waiting(self) -> int:
        """Connections that `take` has."""
        return len(self._waiting)

    def open(self, local: Endpoint, remote: Endpoint, syn: TcpSegment, now: float) -> TcpConnection | None:
        """A new half-open connection; its SYN-ACK is in `take_segments`. None: no SYN, or full: nothing is answered.

        Where too many are half-open, the oldest gives way: it is closed in silence, so a flood of SYNs does not keep
        others out, and a peer that was answered slowly begins anew. For a segment that is no SYN the stack asks
        `reset_for`.
        """
        if syn.flags & (SYN | ACK | RST) != SYN or len(self._waiting) >= self._backlog:
            return None
        if len(self._half_open) >= self._backlog:
            oldest = self._half_open.pop(next(iter(self._half_open)))
            oldest.forget()
        numbers = self._numbers.of(local, remote, now)
        connection = TcpConnection.accept(local, remote, self._config, numbers, syn, now)
        self._half_open[id(connection)] = connection
        return connection

    def settle(self, connection: TcpConnection) -> bool:
        """A half-open connection may have become established, or closed. Whether `take` has one more."""
        if not (connection.is_established or connection.is_closed):
            return False
        if self._half_open.pop(id(connection), None) is None or not connection.is_established:
            return False
        self._waiting.append(connection)
        return True

    def take(self) -> TcpConnection | None:
        """The next established connection for `accept`, None if there is none. It may have failed meanwhile."""
        while self._waiting:
            connection = self._waiting.popleft()
            if connection.error is not TcpError.RESET or connection.readable:
                return connection
        return None

    def close(self) -> list[TcpConnection]:
        """All connections that nobody has taken, aborted: the stack sends their last segments."""
        left = [*self._half_open.values(), *self._waiting]
        self._half_open.clear()
        self._waiting.clear()
        for connection in left:
            connection.abort()
        return left
