"""The server of the model: presence and the introduction of the pair, as server/presence.py and introductions.py do it.

A server that has no room for a message waits until one has arrived: then these functions return no pair at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunnel.machines.chart import PATIENCE_ENDED
from tunnel.verify.proof import node
from tunnel.verify.proof.rules import NO_FACTS, Fault, Rules
from tunnel.verify.proof.side import KINDS, NO_SERVER, REFUSALS, Message, Pair, Seen, Side


def send(rules: Rules, side: Side, message: str) -> Side | None:
    """Send a message. It replaces one of its kind that has not arrived yet. None where there is no room."""
    if not side.is_linked or side.seen == Seen.ABSENT:
        return side
    if message in REFUSALS and side.peer != "requested":
        return side  # nobody waits for it
    in_flight = (*(other for other in side.in_flight if KINDS[other] is not KINDS[message]), message)
    return None if len(in_flight) > rules.fault_model.room else side._replace(in_flight=in_flight)


def admit(rules: Rules, pair: Pair, who: int) -> Iterator[Pair]:
    """A node is welcomed: its old link is replaced, and it hears which peers are up."""
    side, other = pair.side(who), pair.side(1 - who)
    welcomed = node.register(rules, side._replace(seen=Seen.SILENT))
    if other.is_known:
        welcomed = welcomed._replace(in_flight=(Message.UP if other.seen == Seen.ANNOUNCED else Message.UP_OLD,))
    yield pair.changed(who, welcomed, other, pair.askers)


def receive_announce(rules: Rules, pair: Pair, who: int) -> Iterator[Pair]:
    """An announcement is kept, acknowledged and passed on."""
    acked = send(rules, pair.side(who)._replace(seen=Seen.ANNOUNCED), Message.ACK)
    informed = send(rules, pair.side(1 - who), Message.UP)
    if acked is not None and informed is not None:
        yield pair.changed(who, acked, informed, pair.askers)


def receive_connect(rules: Rules, pair: Pair, who: int) -> Iterator[Pair]:
    """A request is refused, or answered by `pending` and later by its outcome."""
    side, other = pair.side(who)._replace(is_asking=False), pair.side(1 - who)
    if other.seen == Seen.ABSENT:
        refused = send(rules, side, Message.REFUSED)
        if refused is not None:
            yield pair.changed(who, refused, other, pair.askers)
    elif not pair.askers and side.is_known and other.is_known:
        yield from _introduce(rules, pair.changed(who, side, other, 0))
    elif "pending" not in rules.introduction.sends_of[rules.introduction.initial]:
        raise Fault("a request is not answered by pending")
    else:
        yield pair.changed(who, side, other, pair.askers | 1 << who)


def is_decided(pair: Pair) -> bool:
    """Whether a waiting introduction has what it waits for, or never will."""
    return Seen.ABSENT in (pair.a.seen, pair.b.seen) or (pair.a.is_known and pair.b.is_known)


def decide(rules: Rules, pair: Pair) -> Iterator[Pair]:
    """The activity of `waiting` returns its event."""
    chart = rules.introduction
    event = "refuse" if Seen.ABSENT in (pair.a.seen, pair.b.seen) else "both_announced"
    if event not in chart.events_of[chart.initial]:
        raise Fault(f"the activity of {chart.initial} may not return {event}")
    outcome = chart.target(chart.initial, event, NO_FACTS)
    if outcome is None:
        raise Fault(f"{event} is not enabled in {chart.initial}")
    return _settle(rules, pair, outcome)


def lose_patience(rules: Rules, pair: Pair) -> Iterator[Pair]:
    """The server has waited long enough. Nothing where that is no event of the chart."""
    outcome = rules.introduction.target(rules.introduction.initial, PATIENCE_ENDED, NO_FACTS)
    return iter(()) if outcome is None else _settle(rules, pair, outcome)


def miss(rules: Rules, pair: Pair, who: int) -> Iterator[Pair]:
    """The server notices that a link has ended."""
    informed = send(rules, pair.side(1 - who), Message.DOWN_LOST)
    if informed is not None:
        yield pair.changed(who, pair.side(who)._replace(seen=Seen.ABSENT), informed, pair.askers)


def stop(rules: Rules, pair: Pair) -> Iterator[Pair]:
    """The server ends, and forgets everything."""
    sides = [node.unlink(rules, side) if side.is_linked else side for side in (pair.a, pair.b)]
    yield Pair(sides[0]._replace(seen=Seen.ABSENT), sides[1]._replace(seen=Seen.ABSENT), NO_SERVER)


def _settle(rules: Rules, pair: Pair, outcome: str) -> Iterator[Pair]:
    """Answer those who asked. The answer must be true."""
    if outcome not in rules.introduction.finals:
        raise Fault("an introduction goes on where it owes an answer")
    is_absent = Seen.ABSENT in (pair.a.seen, pair.b.seen)
    are_announced = pair.a.is_known and pair.b.is_known
    truths = {"introduced": are_announced, "refused": is_absent, "timed_out": not is_absent and not are_announced}
    if not truths[outcome]:
        raise Fault(f"an introduction ends as {outcome}, which is not true")
    if outcome == "introduced":
        yield from _introduce(rules, pair._replace(askers=0))
        return
    message = Message.TIMED_OUT if outcome == "timed_out" else Message.REFUSED
    yield from _sent(
        send(rules, pair.a, message) if pair.askers & 1 else pair.a,
        send(rules, pair.b, message) if pair.askers & 2 else pair.b,
    )


def _introduce(rules: Rules, pair: Pair) -> Iterator[Pair]:
    """Send both an introduction."""
    messages = (
        Message.INTRODUCED if other.seen == Seen.ANNOUNCED else Message.INTRODUCED_OLD for other in (pair.b, pair.a)
    )
    yield from _sent(send(rules, pair.a, next(messages)), send(rules, pair.b, next(messages)))


def _sent(a: Side | None, b: Side | None) -> Iterator[Pair]:
    if a is not None and b is not None:
        yield Pair(a, b, 0)
