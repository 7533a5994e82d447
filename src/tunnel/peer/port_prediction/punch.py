"""One hard punch, as one side lives through it: agree over the relay, then open sockets or guess ports, in small steps.

    both     --ready--> <--ready--          sealed hints; without one from the peer nothing is sent to its address
    opener   opens sockets, knocks from each at the guesser: first with a low TTL, later so as to arrive (listener.py)
    guesser  knocks at port after port (scanner.py)
    both     tell each other now and then how far they are, and where their ports are if they know it

Every knock is a probe. One that is answered is a path, and ends all this from outside.
"""

from __future__ import annotations

import trio

from tunnel.model.reasons import Reason, ReasonCode
from tunnel.peer.port_prediction.attempt import Attempt
from tunnel.peer.port_prediction.listener import Listener
from tunnel.peer.port_prediction.scanner import Scanner
from tunnel.wire.probes import PunchPhase

READY_EVERY = 0.3
HINT_EVERY = 0.5


async def punch_predicted(attempt: Attempt, patience: float) -> Reason:
    """Punch until nothing is left to try, and say why it failed; a success cancels this from outside.

    `patience`: seconds for the peer to join.
    """
    if not await _agree(attempt, patience):
        is_busy = attempt.hint is not None and attempt.hint.phase is PunchPhase.BUSY
        if is_busy:
            return _reason(attempt, ReasonCode.PUNCH_BUSY, "there: another hard punch goes on, or has just ended")
        return _reason(attempt, ReasonCode.PUNCH_BUSY, "the peer did not join in time")
    if attempt.hint is not None and attempt.hint.opens == attempt.tactic.we_open:
        return _reason(
            attempt, ReasonCode.PUNCH_BUSY, "the two saw different NAT reports, and chose roles that do not fit"
        )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_repeat, attempt, PunchPhase.UNDER_WAY, HINT_EVERY)
        await (Listener(attempt) if attempt.tactic.we_open else Scanner(attempt)).run()
        nursery.cancel_scope.cancel()
    attempt.say(PunchPhase.OVER)
    return _reason(attempt, ReasonCode.GUESSING_FAILED)


async def _agree(attempt: Attempt, patience: float) -> bool:
    """Both must say that they begin: nobody is knocked at who does not take part."""
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
    tactic, hint = attempt.tactic, attempt.hint
    doing, told = ("opened", "guessed") if tactic.we_open else ("guessed", "opened")
    here = f"we {doing} with {attempt.turn.sockets} sockets and {attempt.turn.flows} flows"
    there = f"the peer {told} with {hint.sockets} and {hint.flows}" if hint is not None else "the peer said nothing"
    nats = "; ".join(
        f"{where} mapping {nat.mapping.value}, allocation {nat.allocation.value}"
        for where, nat in (("here", attempt.own), ("there", attempt.theirs))
    )
    facts = [tactic.name.value, here, there, nats, *([more] if more else [])]
    return Reason(code, "; ".join(facts))
