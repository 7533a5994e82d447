"""Port prediction with one peer: wait for the node's slot, agree over the relay, then open sockets or probe ports.

    both      --ready--> <--ready--     sealed hints; without one from the peer nothing is sent to its address
    listener  opens many sockets and sends from each to the scanner: first with a low TTL, later so as to arrive
    scanner   probes port after port
    both      tell each other now and then how far they are, and where their ports are if they know it

All that is sent is a probe. One that is answered is a path, and that ends the attempt from outside.
"""

from __future__ import annotations

import trio

from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.timings import rung
from tunnel.model.way import Way
from tunnel.peer.context import PeerContext
from tunnel.peer.peer_state import PeerState
from tunnel.peer.port_prediction.attempt import Attempt, ProbeSender
from tunnel.peer.port_prediction.listener import Listener
from tunnel.peer.port_prediction.plan import PredictionPlan
from tunnel.peer.port_prediction.scanner import Scanner
from tunnel.peer.ports import DatagramSockets, PunchSockets
from tunnel.peer.probe_budget import PredictionSlot, ProbeBudget
from tunnel.peer.tactics import outer_endpoints
from tunnel.wire.probes import ProbeHint, PunchPhase

READY_EVERY = 0.3
HINT_EVERY = 0.5
_NOWHERE = Reason(ReasonCode.NO_CANDIDATES, "nowhere to guess: no IPv4 endpoint of the other side")
_BUSY_HERE = Reason(ReasonCode.PUNCH_BUSY, "here: another port prediction is under way, or has just ended")


class PortPrediction:
    """One for each peer connection. `begin` with each punch, `run` once in it, `release` after it."""

    def __init__(
        self,
        peer: PeerState,
        context: PeerContext,
        probes: ProbeSender,
        *,
        datagrams: DatagramSockets,
        sockets: PunchSockets,
        budget: ProbeBudget,
    ) -> None:
        self._peer = peer
        self._timings = context.timings
        self._chance = context.entropy.chance
        self._probes = probes
        self._datagrams = datagrams
        self._sockets = sockets
        self._budget = budget
        self._open: list[int] = []
        self.attempts = 0
        """How many were made: roles that both sides may play change with it."""
        self.failure: Reason | None = None
        """Why the last attempt proved nothing; None if there was none in this punch."""
        self.again_in: float | None = None
        """Seconds to the next punch after an attempt that proved nothing; None if there was none in this punch."""
        self._failures = self._misses = 0

    def begin(self) -> None:
        """Another punch begins."""
        self.failure = None
        self.again_in = None
        self._peer.forget_hint()

    def note_change(self) -> None:
        """There is a path, or what decides over a punch is new: earlier failures say nothing of the next attempt."""
        self._failures = self._misses = 0

    async def run(self, plan: PredictionPlan) -> None:
        """Wait for the slot, then make one attempt. Returns when nothing is left to try; `failure` says why."""
        own, card = self._peer.own_card, self._peer.card
        assert own is not None
        assert card is not None
        endpoints = outer_endpoints(card.body)
        lasting = next((number for number, is_ipv6 in self._datagrams.families() if not is_ipv6), None)
        if not endpoints or lasting is None:
            self.failure = _NOWHERE
            return
        slot = await self._budget.wait_slot(self._timings.prediction_slot)
        if slot is None:
            self._probes.tell(ProbeHint(PunchPhase.BUSY))
            self._note_miss(_BUSY_HERE)
            return
        try:
            if not self._may_begin(slot, endpoints[0].host):
                return
            attempt = Attempt(
                self._peer,
                plan,
                slot,
                self._probes,
                self._sockets,
                self._open,
                chance=self._chance,
                number=self.attempts,
                endpoints=endpoints,
                own=own.body.nat,
                theirs=card.body.nat,
                lasting=lasting,
            )
            self._note_end(attempt, await _punch(attempt, self._timings.prediction_agreement))
        finally:
            self._peer.paths.awaited.clear()
            slot.end()

    def release(self, keep: Way | None = None) -> None:
        """Close all sockets but those of the chosen way and of `keep`."""
        paths = self._peer.paths
        kept = {way.socket for way in (keep, paths.chosen.way if paths.chosen is not None else None) if way is not None}
        for number in [number for number in self._open if number not in kept]:
            self._open.remove(number)
            self._sockets.close(number)
            paths.forget_socket(number)

    def _may_begin(self, slot: PredictionSlot, host: str) -> bool:
        if not slot.may_punch(self._peer.node, host):
            self._probes.tell(ProbeHint(PunchPhase.BUSY))
            spent = f"here: the packets that it, or {host}, is worth within an hour are used up"
            self.failure = Reason(ReasonCode.PUNCH_BUSY, spent)
            self.again_in = self._timings.prediction_again[-1]
            return False
        self.attempts += 1
        self.again_in = rung(self._timings.prediction_again, self._failures)  # unless it ends otherwise
        return True

    def _note_end(self, attempt: Attempt, failure: Reason) -> None:
        hint = attempt.hint
        self.attempts = max(self.attempts, 0 if hint is None else hint.attempt)
        if failure.code is ReasonCode.PUNCH_BUSY:
            self._note_miss(failure)
        else:
            self.failure = failure
            self._failures += 1

    def _note_miss(self, failure: Reason) -> None:
        """Nothing was tried: soon again."""
        self.failure = failure
        self.again_in = rung(self._timings.prediction_busy, self._misses)
        self._misses += 1


async def _punch(attempt: Attempt, patience: float) -> Reason:
    """Try until nothing is left to try, and say why it failed; a success cancels this from outside.

    `patience`: seconds for the peer to join.
    """
    if not await _agree(attempt, patience):
        is_busy = attempt.hint is not None and attempt.hint.phase is PunchPhase.BUSY
        there = "there: another port prediction is under way, or has just ended"
        return _reason(attempt, ReasonCode.PUNCH_BUSY, there if is_busy else "the peer did not join in time")
    if attempt.hint is not None and attempt.hint.opens == attempt.plan.we_listen:
        differ = "the two saw different NAT reports, and chose roles that do not fit"
        return _reason(attempt, ReasonCode.PUNCH_BUSY, differ)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_repeat, attempt, PunchPhase.UNDER_WAY, HINT_EVERY)
        await (Listener(attempt) if attempt.plan.we_listen else Scanner(attempt)).run()
        nursery.cancel_scope.cancel()
    attempt.say(PunchPhase.OVER)
    return _reason(attempt, ReasonCode.GUESSING_FAILED)


async def _agree(attempt: Attempt, patience: float) -> bool:
    """Both must say that they begin: nothing is sent to the address of a peer that does not take part."""
    with trio.move_on_after(patience):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_repeat, attempt, PunchPhase.READY, READY_EVERY)
            await attempt.wait_hint(lambda: attempt.hint is not None)
            nursery.cancel_scope.cancel()
    return attempt.hint is not None and attempt.hint.phase in (PunchPhase.READY, PunchPhase.UNDER_WAY)


async def _repeat(attempt: Attempt, phase: PunchPhase, every: float) -> None:
    while True:
        attempt.say(phase)
        await trio.sleep(every)


def _reason(attempt: Attempt, code: ReasonCode, more: str = "") -> Reason:
    """With the evidence of both sides."""
    plan, hint = attempt.plan, attempt.hint
    doing, told = ("opened", "guessed") if plan.we_listen else ("guessed", "opened")
    here = f"we {doing} with {attempt.slot.sockets} sockets and {attempt.slot.flows} flows"
    there = f"the peer {told} with {hint.sockets} and {hint.flows}" if hint is not None else "the peer said nothing"
    nats = "; ".join(
        f"{where} mapping {nat.mapping.value}, allocation {nat.allocation.value}"
        for where, nat in (("here", attempt.own), ("there", attempt.theirs))
    )
    evidence = [plan.name.value, here, there, nats, *([more] if more else [])]
    return Reason(code, "; ".join(evidence))
