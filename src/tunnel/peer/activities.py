"""The chart of one peer connection and what is done in each of its states.

The chart says where we are, the activities (request_states.py, connect_states.py) say what we do there,
`StateRunner` says for how long. What an activity ends with is an `Outcome`; its reason is handed on with the move.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

from tunnel.machines.state_runner import Activity, StateRunner
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.timings import Timings
from tunnel.peer.connect_states import ConnectStates
from tunnel.peer.outcome import Outcome
from tunnel.peer.peer_state import PeerState
from tunnel.peer.punch_planner import PunchPlanner
from tunnel.peer.request_states import RequestStates

_LEAST_PATIENCE = 0.1


class Activities:
    """Run `runner.run` once: after an error the connection makes new ones.

    `moved(source, event, target, reason)` is told of each move, and of why there is no direct path where that is news.
    """

    def __init__(
        self,
        peer: PeerState,
        timings: Timings,
        planner: PunchPlanner,
        request_states: RequestStates,
        connecting: ConnectStates,
        *,
        moved: Callable[[str, str, str, Reason | None], None],
    ) -> None:
        self._peer = peer
        self._timings = timings
        self._planner = planner
        self._connecting = connecting
        self._moved = moved
        self._outcome: Outcome | None = None
        self.runner = StateRunner(
            peer.chart,
            {
                "detecting": self._kept(request_states.detect),
                "announced": self._kept(request_states.idle),
                "requested": self._kept(request_states.request),
                "punching": self._kept(connecting.punch),
                "connected": self._kept(connecting.stay_connected),
                "relayed": self._kept(connecting.stay_relayed),
            },
            patience=self._patience,
            facts=lambda: {"relay": peer.relay_carries, "direct_allowed": peer.is_direct_allowed},
            on_move=self._note_move,
            about=str(peer.node),
        )

    def _kept(self, activity: Callable[[], Awaitable[Outcome]]) -> Activity:
        """The activity, as the runner wants it: its outcome is kept until the move that follows."""

        async def act() -> str:
            self._outcome = await activity()
            return self._outcome.event

        return act

    def _patience(self, state: str) -> float:
        match state:
            case "requested":
                return self._timings.request_patience
            case "punching":
                return max(self._planner.plan().patience, _LEAST_PATIENCE)
            case "relayed":
                return self._connecting.next_upgrade()
            case _:
                return math.inf

    def _note_move(self, source: str, event: str, target: str) -> None:
        outcome, self._outcome = self._outcome, None
        self._moved(source, event, target, self._reason(source, event, target, outcome))

    def _reason(self, source: str, event: str, target: str, outcome: Outcome | None) -> Reason | None:
        if event == "patience_ended" and source == "punching":
            return self._connecting.failure
        if event == "patience_ended" and source == "requested":
            if not self._peer.is_registered:
                return self._peer.absence
            return Reason(ReasonCode.PEER_INFO_TIMEOUT, "the server did not introduce us within 12 s")
        if target == "relayed" and not self._peer.is_direct_allowed:
            return self._planner.plan().otherwise
        return None if outcome is None else outcome.reason
