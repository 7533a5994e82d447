"""How many probes a node may send where nothing is proved: candidates are somebody's word, and may name a victim."""

from __future__ import annotations

from tunnel.model.rates import RateTable, TokenBucket

NODE_RATE, NODE_BURST = 200.0, 400.0
"""Probes a second to unproved ways, over all peers: routers must remember each flow (easytier#289)."""
HOST_RATE, HOST_BURST = 20.0, 48.0
"""The same to one address. A punch at four candidates of one host asks 28 times within its first second."""
MAX_HOSTS = 4096


class ProbeBudget:
    """One a node."""

    def __init__(self) -> None:
        self._node = TokenBucket(NODE_RATE, NODE_BURST, 0.0)
        self._hosts = RateTable(HOST_RATE, HOST_BURST, MAX_HOSTS)
        self.refused = 0

    def take(self, host: str, now: float) -> bool:
        """Whether one more probe may go to this address now."""
        if self._hosts.take(host, now) and self._node.take(now):
            return True
        self.refused += 1
        return False
