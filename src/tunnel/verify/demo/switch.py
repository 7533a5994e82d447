"""UDP sockets with a switch that cuts the way to the peers, without any privilege.

    node --- SwitchedSocket --/ --- the real socket --- peers (cut), STUN servers (never cut)

What a cut swallows looks sent to the sender, as on a network that drops silently.
"""

from __future__ import annotations

from tunnel.model.endpoint import Endpoint
from tunnel.model.offload import Offload
from tunnel.network.datagrams import Datagrams, DatagramSocket, Segments, Transmit
from tunnel.wire.stun import is_stun


class SwitchedDatagrams:
    """The port `datagrams` of a World, with the switch in it: `cut()` and `lift()` act on every socket at once."""

    def __init__(self, real: Datagrams) -> None:
        self._real = real
        self.is_cut = False
        self.swallowed = 0
        """Datagrams that cuts have dropped, in either direction."""

    def cut(self) -> None:
        """Drop what goes to peers and what comes from them, until `lift`."""
        self.is_cut = True

    def lift(self) -> None:
        """Let everything through again."""
        self.is_cut = False

    async def open_socket(self, local: Endpoint) -> DatagramSocket:
        """As the real port does."""
        return SwitchedSocket(await self._real.open_socket(local), self)

    def swallows(self, datagram: bytes) -> bool:
        """Whether this datagram is lost now. If so, it is counted."""
        is_lost = self.is_cut and not is_stun(datagram)
        self.swallowed += is_lost
        return is_lost


class SwitchedSocket:
    """One socket behind the switch."""

    def __init__(self, real: DatagramSocket, switch: SwitchedDatagrams) -> None:
        self._real = real
        self._switch = switch

    @property
    def local(self) -> Endpoint:
        """The bound endpoint."""
        return self._real.local

    @property
    def offloads(self) -> frozenset[Offload]:
        """None: each datagram is looked at."""
        return frozenset()

    def send_nowait(self, datagram: bytes, remote: Endpoint, ttl: int | None = None) -> bool:
        """Send, or swallow and say that it was sent."""
        return self._switch.swallows(datagram) or self._real.send_nowait(datagram, remote, ttl)

    def send_batch(self, transmit: Transmit) -> int:
        """The same for each of a batch; how many went."""
        remote = transmit.way.remote
        assert remote is not None
        return sum(self.send_nowait(b"".join(parts), remote) for parts in transmit.datagrams())

    def unsent_bytes(self) -> int:
        """Those of the real one."""
        return self._real.unsent_bytes()

    async def receive_batch(self) -> list[tuple[bytes, Endpoint]]:
        """Wait for at least one datagram that comes through."""
        while True:
            batch = await self._real.receive_batch()
            through = [entry for entry in batch if not self._switch.swallows(entry[0])]
            if through:
                return through

    async def receive_segments(self) -> list[Segments]:
        """The same, one datagram each."""
        return [Segments(datagram, remote) for datagram, remote in await self.receive_batch()]

    def close(self) -> None:
        """Close the real one."""
        self._real.close()
