"""The hard punches of one peer: the turn in the node, the sockets, what became of the last one."""

from __future__ import annotations

from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.timings import rung
from tunnel.model.way import Way
from tunnel.peer.context import PeerContext
from tunnel.peer.peer_state import PeerFacts
from tunnel.peer.port_prediction.attempt import Attempt, Knock, Tell
from tunnel.peer.port_prediction.plan import PredictionPlan
from tunnel.peer.port_prediction.punch import punch_predicted
from tunnel.peer.ports import NodePorts
from tunnel.peer.tactics import outer_endpoints
from tunnel.wire.probes import ProbeHint, PunchPhase


class PredictionTurns:
    """`knock(way, ttl)` sends a probe of which nothing is kept, `tell(hint)` a hint over the relay."""

    def __init__(self, facts: PeerFacts, context: PeerContext, ports: NodePorts, *, knock: Knock, tell: Tell) -> None:
        self._facts = facts
        self._context = context
        self._timings = context.timings
        self._datagrams = ports.datagrams
        self._punch_sockets = ports.punch_sockets
        self._budget = ports.probe_budget
        self._knock = knock
        self._tell = tell
        self._sockets: list[int] = []
        self.attempt = 0
        """How many were made: roles that both may play change with it."""
        self.failure: Reason | None = None
        """Why the last one proved nothing; None if there was none in this punch."""
        self.again_in: float | None = None
        """Seconds to wait for the next punch after a hard one that proved nothing; None if there was none in this."""
        self._failures = self._misses = 0

    def begin(self) -> None:
        """Another punch begins."""
        self.failure = None
        self.again_in = None
        self._facts.hint = None

    def note_change(self) -> None:
        """There is a path, or what decides over a punch is new: what failed before says nothing of the next one."""
        self._failures = self._misses = 0

    async def run(self, tactic: PredictionPlan) -> None:
        """Wait for our turn, then punch. Returns when nothing is left to try; `failure` says why."""
        own, card = self._facts.own_card, self._facts.card
        assert own is not None
        assert card is not None
        endpoints = outer_endpoints(card.body)
        stays = next((number for number, is_ipv6 in self._datagrams.families() if not is_ipv6), None)
        if not endpoints or stays is None:
            self.failure = Reason(ReasonCode.NO_CANDIDATES, "nowhere to guess: no IPv4 endpoint of the other side")
            return
        turn = await self._budget.wait_turn(self._timings.prediction_turn)
        if turn is None:
            self._tell(ProbeHint(PunchPhase.BUSY))
            self._miss(Reason(ReasonCode.PUNCH_BUSY, "here: another hard punch goes on, or has just ended"))
            return
        try:
            host = endpoints[0].host
            if not turn.may_punch(self._facts.node, host):
                self._tell(ProbeHint(PunchPhase.BUSY))
                spent = f"here: the packets that it, or {host}, is worth within an hour are used up"
                self.failure = Reason(ReasonCode.PUNCH_BUSY, spent)
                self.again_in = self._timings.prediction_again[-1]
                return
            self.attempt += 1
            self.again_in = rung(self._timings.prediction_again, self._failures)  # unless it ends otherwise
            attempt = Attempt(
                self._facts,
                tactic,
                turn,
                self._punch_sockets,
                self._sockets,
                chance=self._context.entropy.chance,
                attempt=self.attempt,
                endpoints=endpoints,
                own=own.body.nat,
                theirs=card.body.nat,
                stays=stays,
                knock=self._knock,
                tell=self._tell,
            )
            failure = await punch_predicted(attempt, self._timings.prediction_agreement)
            hint = self._facts.hint
            self.attempt = max(self.attempt, 0 if hint is None else hint.attempt)
            if failure.code is ReasonCode.PUNCH_BUSY:
                self._miss(failure)
            else:
                self.failure = failure
                self._failures += 1
        finally:
            self._facts.paths.awaited.clear()
            turn.end()

    def _miss(self, failure: Reason) -> None:
        """Nothing was tried: soon again."""
        self.failure = failure
        self.again_in = rung(self._timings.prediction_busy, self._misses)
        self._misses += 1

    def release(self, keep: Way | None = None) -> None:
        """Close all sockets but those of the chosen way and of `keep`."""
        paths = self._facts.paths
        kept = {way.socket for way in (keep, paths.chosen.way if paths.chosen is not None else None) if way is not None}
        for number in [number for number in self._sockets if number not in kept]:
            self._sockets.remove(number)
            self._punch_sockets.close(number)
            paths.forget_socket(number)
