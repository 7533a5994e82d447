"""Every step that a pair can take, apart from probes: activities, patience, messages and faults.

What a node does at once takes no time compared to the network: while a side has such an `urgent` step, nothing else
moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

from tunnel.machines.table import Ambiguous
from tunnel.verify.proof import node, rendezvous
from tunnel.verify.proof.rules import Fault, Rules
from tunnel.verify.proof.side import AGED, NO_SERVER, Card, Message, Pair, Seen, Side


class Pace(IntEnum):
    """Whose step it is, and so whether one can count on it."""

    PROMPT = 0
    """The programs' own: it happens without waiting for a clock."""
    SLOW = 1
    """The end of some patience."""
    WANTED_A = 2
    """A's application still wants the peer."""
    WANTED_B = 3
    BLIND_A = 4
    """The same where there is no server: after a patience."""
    BLIND_B = 5
    PERHAPS = 6
    """The programs' own, but it need not happen: nothing is left to try, or a probe passes a NAT that nobody opened."""
    FAULT = 7
    """A fault. One cannot count on that either."""

    @property
    def mirrored(self) -> Pace:
        """The same for the other node."""
        return (Pace.WANTED_B, Pace.WANTED_A, Pace.BLIND_B, Pace.BLIND_A)[self - 2] if 2 <= self <= 5 else self


SERVER = "server"
NODES = ("node A", "node B")


class Action(NamedTuple):
    """A step as a reader sees it: a message, or a note where there is no receiver."""

    actor: str
    receiver: str
    text: str
    is_lost: bool = False

    @property
    def mirrored(self) -> Action:
        """The same with the two nodes' names exchanged."""
        names = {NODES[0]: NODES[1], NODES[1]: NODES[0]}
        return self._replace(actor=names.get(self.actor, self.actor), receiver=names.get(self.receiver, self.receiver))


class Step(NamedTuple):
    """One step of a pair."""

    pace: Pace
    action: Action
    pair: Pair | None
    """None: the step is forbidden, and `fault` says why."""
    fault: str = ""
    forgets_probes: bool = False
    """All probes in flight are void: they were sealed with keys of an earlier process."""
    on_broken_path: bool = False
    """Possible only where the direct path does not carry both ways."""


class Own(NamedTuple):
    """A step of one side that changes nothing but this side."""

    pace: Pace
    actor: str
    receiver: str
    text: str
    side: Side | None
    fault: str
    on_broken_path: bool = False


class Stepper:
    """Computes steps. What one side does by itself is computed once for all pairs that contain it."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._own: dict[tuple[Side, int, bool, bool], tuple[list[Own], bool]] = {}

    def steps(self, pair: Pair) -> tuple[list[Step], bool]:
        """Every step out of this pair, and whether they are urgent."""
        know = pair.a.card == Card.CURRENT and pair.b.card == Card.CURRENT
        found: list[Step] = []
        for who in (0, 1):
            other = pair.side(1 - who)
            own, is_urgent = self._steps_of_side(pair.side(who), who, know, other.is_linked)
            steps = [
                Step(
                    step.pace,
                    Action(step.actor, step.receiver, step.text),
                    None if step.side is None else pair.changed(who, step.side, other, pair.askers),
                    step.fault,
                    on_broken_path=step.on_broken_path,
                )
                for step in own
            ]
            if is_urgent:
                return steps, True
            found += steps
        for who in (0, 1):
            received = self._received_requests(pair, who)
            if received:
                return received, True
        return found + list(self._steps_between(pair)), False

    def _steps_of_side(self, side: Side, who: int, know: bool, is_peer_linked: bool) -> tuple[list[Own], bool]:
        key = side, who, know, is_peer_linked
        found = self._own.get(key)
        if found is None:
            urgent = list(self._urgent(side, who))
            found = self._own[key] = (
                (urgent, True) if urgent else (list(self._patient(side, who, know, is_peer_linked)), False)
            )
        return found

    def _urgent(self, side: Side, who: int) -> Iterator[Own]:
        """What the activity returns at once."""
        is_worth_acting = side.is_introduced and (self._rules.is_direct_allowed or side.has_relay)
        event = because = ""
        match side.peer:
            case "announced" | "requested" if is_worth_acting:
                event, because = "introduced", "the server introduced us"
            case "punching" | "relayed" if side.is_proved:
                event, because = "path_verified", "the path is proved"
            case "relayed" if not side.has_relay:
                event, because = "relay_lost", "the relay does not carry"
            case "relayed" if is_worth_acting:
                event, because = "introduced", "the server introduced us"
        if event:
            yield from self._activity_returns(side, who, Pace.PROMPT, event, because)

    def _patient(self, side: Side, who: int, know: bool, is_peer_linked: bool) -> Iterator[Own]:
        """What may take a while."""
        rules = self._rules
        wanted, blind = (Pace.WANTED_B, Pace.BLIND_B) if who else (Pace.WANTED_A, Pace.BLIND_A)
        match side.peer:
            case "detecting" if side.announcement == "acknowledged":
                yield from self._do(
                    who, Pace.PROMPT, "the survey has its verdict", lambda: iter((node.change(rules, side),))
                )
            case "announced" if side.is_linked:
                yield from self._activity_returns(side, who, wanted, "peer_wanted", "somebody needs the peer")
            case "announced" if side.card != Card.NONE and rules.is_direct_allowed:
                yield from self._activity_returns(side, who, blind, "introduced", "no server, but the peer is known")
            case "punching":
                yield from self._activity_returns(side, who, Pace.PERHAPS, "paths_exhausted", "nothing is left to try")
            case "connected":
                yield from self._activity_returns(side, who, Pace.SLOW, "path_lost", "no answer", on_broken_path=know)
            case "relayed" if not (know and is_peer_linked):
                yield from self._activity_returns(side, who, Pace.SLOW, "relay_lost", "no answer over the relay")
        if node.has_patience(rules, side):
            text = f"patience of {side.peer} ends"
            yield from self._do(who, Pace.SLOW, text, lambda: node.end_patience(rules, side))
        if side.announcement in ("announcing", "stale"):
            text = f"patience of {side.announcement} ends"
            yield from self._do(who, Pace.SLOW, text, lambda: iter((node.announce(rules, side, "patience_ended"),)))
        if side.in_flight:
            message = side.in_flight[0]
            yield from self._do(who, Pace.PROMPT, message, lambda: node.receive(rules, side), sender=SERVER)
        if side.is_linked and rules.fault_model.is_link_breaking:
            text = "its link to the server breaks"
            yield from self._do(who, Pace.FAULT, text, lambda: iter((node.unlink(rules, side),)))
        if rules.fault_model.is_moving:
            yield from self._do(who, Pace.FAULT, "its addresses change", lambda: node.move(rules, side))

    def _activity_returns(
        self, side: Side, who: int, pace: Pace, event: str, because: str, *, on_broken_path: bool = False
    ) -> Iterator[Own]:
        outcomes = lambda: node.activity_returns(self._rules, side, event)  # noqa: E731 - as the others
        return self._do(who, pace, f"{event}: {because}", outcomes, on_broken_path=on_broken_path)

    def _do(
        self,
        who: int,
        pace: Pace,
        text: str,
        outcomes: Callable[[], Iterator[Side]],
        *,
        sender: str = "",
        on_broken_path: bool = False,
    ) -> Iterator[Own]:
        name = NODES[who]
        actor, receiver = (sender, name) if sender else (name, "")
        try:
            for outcome in outcomes():
                yield Own(pace, actor, receiver, text, outcome, "", on_broken_path)
        except (Fault, Ambiguous) as fault:
            yield Own(pace, actor, receiver, text, None, str(fault), on_broken_path)

    def _steps_between(self, pair: Pair) -> Iterator[Step]:
        """What the server does, and what concerns both sides."""
        rules = self._rules
        if pair.askers == NO_SERVER:
            yield Step(Pace.FAULT, Action(SERVER, "", "starts"), pair._replace(askers=0))
        for who in (0, 1):
            side, name = pair.side(who), NODES[who]
            if pair.askers != NO_SERVER:
                yield from self._serve(pair, who)
            if rules.fault_model.is_restarting:
                yield from _try(
                    Pace.FAULT, Action(name, "", "its process is killed and starts again"), _restarted, rules, pair, who
                )
                if side.is_linked:
                    action = Action(name, "", "its process says farewell and starts again")
                    yield from _try(Pace.FAULT, action, _left, rules, pair, who)
        if pair.askers == NO_SERVER:
            return
        if pair.askers:
            if rendezvous.is_decided(pair):
                action = Action(SERVER, "", "the introduction has what it waits for")
                yield from _try(Pace.PROMPT, action, rendezvous.decide, rules, pair)
            else:
                action = Action(SERVER, "", "patience of the introduction ends")
                yield from _try(Pace.SLOW, action, rendezvous.lose_patience, rules, pair)
        if rules.fault_model.is_server_stopping:
            yield from _try(Pace.FAULT, Action(SERVER, "", "stops"), rendezvous.stop, rules, pair)

    def _received_requests(self, pair: Pair, who: int) -> list[Step]:
        if not pair.side(who).is_asking:
            return []
        return list(
            _try(Pace.PROMPT, Action(NODES[who], SERVER, "connect"), rendezvous.receive_connect, self._rules, pair, who)
        )

    def _serve(self, pair: Pair, who: int) -> Iterator[Step]:
        side, name, rules = pair.side(who), NODES[who], self._rules
        if side.is_announcing:
            yield from _try(
                Pace.PROMPT, Action(name, SERVER, "announce"), rendezvous.receive_announce, rules, pair, who
            )
        if not side.is_linked:
            yield from _try(Pace.PROMPT, Action(name, SERVER, "hello"), rendezvous.admit, rules, pair, who)
            if side.seen != Seen.ABSENT:
                yield from _try(Pace.PROMPT, Action(SERVER, "", f"misses {name}"), rendezvous.miss, rules, pair, who)


def _try(pace: Pace, action: Action, outcomes: Callable[..., Iterator[Pair]], *given: object) -> Iterator[Step]:
    try:
        for outcome in outcomes(*given):
            yield Step(pace, action, outcome, forgets_probes=outcomes in (_restarted, _left))
    except (Fault, Ambiguous) as fault:
        yield Step(pace, action, None, str(fault))


def _restarted(rules: Rules, pair: Pair, who: int) -> Iterator[Pair]:
    """The server has not noticed yet. What others know of this side is old."""
    side = pair.side(who)
    if rules.peer.target(side.peer, "close", rules.valuation(side.has_relay)) not in rules.peer.finals:
        raise Fault(f"the {rules.peer.name} does not close in {side.peer}")
    seen = Seen.OLD if side.seen == Seen.ANNOUNCED else side.seen
    other = pair.side(1 - who)
    in_flight = tuple(AGED.get(message, message) for message in other.in_flight)
    card = Card.OLD if other.card == Card.CURRENT else other.card
    yield pair.changed(who, node.begin(rules, seen), other._replace(in_flight=in_flight, card=card), pair.askers)


def _left(rules: Rules, pair: Pair, who: int) -> Iterator[Pair]:
    """The server hears the farewell, and tells the peer."""
    for gone in _restarted(rules, pair, who):
        informed = rendezvous.send(rules, gone.side(1 - who), Message.DOWN_LEFT)
        if informed is not None:
            yield gone.changed(who, gone.side(who)._replace(seen=Seen.ABSENT), informed, pair.askers)
