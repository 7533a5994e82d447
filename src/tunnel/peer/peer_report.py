"""What people and machines are told of one peer: its moves, its path, and why data does not go directly."""

from __future__ import annotations

from collections import deque

import trio

from tunnel.dataplane.flow import NEVER
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.status import Move, PathStatus, PeerStatus
from tunnel.network.ports import Clock
from tunnel.peer.peer_state import PeerState
from tunnel.peer.routing import Routing
from tunnel.peer.session_liveness import SessionLiveness

HISTORY = 64


class PeerReport:
    """One for each peer connection. `note_move` is told of each move."""

    def __init__(self, peer: PeerState, routing: Routing, session_liveness: SessionLiveness, clock: Clock) -> None:
        self._peer = peer
        self._flow = peer.flow
        self._routing = routing
        self._session_liveness = session_liveness
        self._clock = clock
        self._history: deque[Move] = deque(maxlen=HISTORY)
        self._since = clock.wall()

    def note_move(self, source: str, event: str, target: str) -> Move:
        """The chart took a transition."""
        move = Move(self._clock.wall(), source, event, target)
        if source != target:
            self._since = move.at
        self._history.append(move)
        return move

    def status(self) -> PeerStatus:
        """A frozen view for people and machines."""
        card, name = self._peer.card, self._peer.name
        return PeerStatus(
            id=str(self._peer.node),
            name=name,
            addresses=card.body.addresses if card is not None else (),
            state=self._peer.state,
            path=self.path_status(),
            reason=self.reason,
            since=self._shown_since,
            tx_bytes=self._flow.tx_bytes,
            rx_bytes=self._flow.rx_bytes,
            history=tuple(self._history),
            claimed_name=card.body.name if card is not None and not name else "",
            idle=self._idle,
            kept_path=self._routing.path_status() if self._keeps_path else None,
            takes_ip=card is None or card.body.takes_ip,
        )

    @property
    def _idle(self) -> float | None:
        """Seconds since data or an echo went either way; None if none ever did."""
        return None if self._flow.used == NEVER else trio.current_time() - self._flow.used

    @property
    def reason(self) -> Reason | None:
        """Why data does not go directly; None where it does."""
        mismatch = self._peer.version_mismatch
        if mismatch is not None and not self._is_away:
            return mismatch
        if self._peer.state != "connected":
            return self._peer.reason
        if self._session_liveness.is_doubted:
            return Reason(
                ReasonCode.NO_SESSION, "the path answers, what is sent on it does not: new keys are being made"
            )
        return self._peer.throughput.reason(trio.current_time())

    def path_status(self) -> PathStatus | None:
        """The path that carries now; None without keys or a way."""
        return self._routing.path_status() if self._flow.is_ready else None

    @property
    def _shown_since(self) -> float:
        """When the shown state began; for a peer that is away, when it left, however often it was asked for."""
        absent = self._peer.absent_since
        return absent if self._peer.state == "announced" and self._is_away and absent is not None else self._since

    @property
    def _is_away(self) -> bool:
        return self._peer.reason is not None and self._peer.reason.code is ReasonCode.PEER_OFFLINE

    @property
    def _keeps_path(self) -> bool:
        return self._peer.state == "connected" and not self._flow.is_ready and self._peer.paths.chosen is not None
