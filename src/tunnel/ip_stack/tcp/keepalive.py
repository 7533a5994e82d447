"""Whether a peer that says nothing is still there (RFC 9293 section 3.8.4)."""

from __future__ import annotations

from math import inf

from tunnel.ip_stack.tcp.config import TcpConfig


class Keepalive:
    """Probes after a long silence. `deadline`: the next of them."""

    __slots__ = ("_config", "_probes", "deadline")

    def __init__(self, config: TcpConfig) -> None:
        self._config = config
        self._probes = 0
        self.deadline = inf

    def heard(self, now: float) -> None:
        """Something came from the peer."""
        idle = self._config.keepalive_idle
        if idle is not None:
            self._probes = 0
            self.deadline = now + idle

    def stop(self) -> None:
        """The connection ends."""
        self.deadline = inf

    def timeout(self, now: float) -> bool:
        """The silence has lasted: a probe is to be sent. False: so many were unanswered that the peer is gone."""
        if self._probes >= self._config.keepalive_probes:
            self.deadline = inf
            return False
        self._probes += 1
        self.deadline = now + self._config.keepalive_interval
        return True
