"""The plan of a punch as both announcements stand now: made anew whenever what it depends on has changed."""

from __future__ import annotations

from typing import TypeAlias

from tunnel.model.announcement import Announcement
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.timings import Timings
from tunnel.model.way import Way
from tunnel.peer.path import NEVER
from tunnel.peer.peer_state import PeerState
from tunnel.peer.port_prediction.punch import PortPrediction
from tunnel.peer.ports import DatagramSockets
from tunnel.peer.tactics import PunchPlan, plan_punch

_Basis: TypeAlias = tuple[Announcement, Announcement, tuple[tuple[int, bool], ...], Timings, tuple[Way, ...], int]
"""What a plan is made of: see `plan_punch`."""


class PunchPlanner:
    """One for each peer connection."""

    def __init__(
        self, peer: PeerState, timings: Timings, datagrams: DatagramSockets, prediction: PortPrediction
    ) -> None:
        self._peer = peer
        self._timings = timings
        self._datagrams = datagrams
        self._prediction = prediction
        self.last = PunchPlan((), 0.0, Reason(ReasonCode.NO_CANDIDATES))
        """The plan that was made last."""
        self._basis: _Basis | None = None

    def plan(self) -> PunchPlan:
        """The plan now; an empty one before both sides have announced themselves."""
        own, card = self._peer.own_card, self._peer.card
        if own is not None and card is not None:
            answered = tuple(path.way for path in self._peer.paths.direct.values() if path.answered != NEVER)
            sockets, attempts = tuple(self._datagrams.families()), self._prediction.attempts
            basis = own.body, card.body, sockets, self._timings, answered, attempts
            if basis != self._basis:
                self._basis, self.last = basis, plan_punch(*basis)
        return self.last
