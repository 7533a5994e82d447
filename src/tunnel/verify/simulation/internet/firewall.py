"""A stateful firewall without translation, in front of IPv6 hosts (RFC 6092) and of public IPv4 hosts."""

from __future__ import annotations

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Filtering
from tunnel.verify.simulation.internet.openings import Opening, Policy

SWEEP_INTERVAL = 60.0


class Firewall:
    """The openings of one transport. With the filtering NONE everything comes in."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._is_open = policy.filtering is Filtering.NONE
        self._openings: dict[Endpoint, Opening] = {}
        self._next_sweep = 0.0

    def leave(self, inner: Endpoint, remote: Endpoint, now: float) -> None:
        """A packet goes out."""
        if self._is_open:
            return
        opening = self._openings.get(inner)
        if opening is None or not opening.is_alive(now):
            if now >= self._next_sweep:
                self._sweep(now)
            opening = self._openings[inner] = Opening(inner, self._policy, now)
        opening.note_outbound(remote, now)

    def enter(self, inner: Endpoint, remote: Endpoint, now: float) -> bool:
        """Whether a packet from outside may come in."""
        if self._is_open:
            return True
        opening = self._openings.get(inner)
        if opening is None or not opening.is_alive(now) or not opening.admits(remote, now):
            return False
        opening.note_inbound(remote, now)
        return True

    def _sweep(self, now: float) -> None:
        self._next_sweep = now + SWEEP_INTERVAL
        for inner in [inner for inner, opening in self._openings.items() if not opening.is_alive(now)]:
            del self._openings[inner]
