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
from tunnel.peer.port_prediction.attempt import Bout
from tunnel.peer.port_prediction.listener import Opener
from tunnel.peer.port_prediction.scanner import Guesser
from tunnel.wire.probes import Stage

READY_EVERY = 0.3
HINT_EVERY = 0.5


async def punch_hard(bout: Bout, patience: float) -> Reason:
    """Punch until nothing is left to try, and say why it failed; a success cancels this from outside.

    `patience`: seconds for the peer to join.
    """
    if not await _agree(bout, patience):
        is_busy = bout.hint is not None and bout.hint.stage is Stage.BUSY
        if is_busy:
            return _reason(bout, ReasonCode.PUNCH_BUSY, "there: another hard punch goes on, or has just ended")
        return _reason(bout, ReasonCode.PUNCH_BUSY, "the peer did not join in time")
    if bout.hint is not None and bout.hint.opens == bout.tactic.we_open:
        return _reason(
            bout, ReasonCode.PUNCH_BUSY, "the two saw different NAT reports, and chose roles that do not fit"
        )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_repeat, bout, Stage.UNDER_WAY, HINT_EVERY)
        await (Opener(bout) if bout.tactic.we_open else Guesser(bout)).run()
        nursery.cancel_scope.cancel()
    bout.say(Stage.OVER)
    return _reason(bout, ReasonCode.GUESSING_FAILED)


async def _agree(bout: Bout, patience: float) -> bool:
    """Both must say that they begin: nobody is knocked at who does not take part."""
    with trio.move_on_after(patience):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_repeat, bout, Stage.READY, READY_EVERY)
            await bout.wait_hint(lambda: bout.hint is not None)
            nursery.cancel_scope.cancel()
    return bout.hint is not None and bout.hint.stage in (Stage.READY, Stage.UNDER_WAY)


async def _repeat(bout: Bout, stage: Stage, every: float) -> None:
    while True:
        bout.say(stage)
        await trio.sleep(every)


def _reason(bout: Bout, code: ReasonCode, more: str = "") -> Reason:
    """With the evidence of both sides."""
    tactic, hint = bout.tactic, bout.hint
    doing, told = ("opened", "guessed") if tactic.we_open else ("guessed", "opened")
    here = f"we {doing} with {bout.turn.sockets} sockets and {bout.turn.flows} flows"
    there = f"the peer {told} with {hint.sockets} and {hint.flows}" if hint is not None else "the peer said nothing"
    nats = "; ".join(
        f"{where} mapping {nat.mapping.value}, allocation {nat.allocation.value}"
        for where, nat in (("here", bout.own), ("there", bout.theirs))
    )
    facts = [tactic.name.value, here, there, nats, *([more] if more else [])]
    return Reason(code, "; ".join(facts))
