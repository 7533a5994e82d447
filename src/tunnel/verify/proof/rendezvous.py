"""What the server does: presence and the introduction of the pair, as server/presence.py and introductions.py do it.

A server that has no room for a word waits until one has arrived: the functions then return no pair at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunnel.machines.chart import PATIENCE_ENDED
from tunnel.verify.proof import node
from tunnel.verify.proof.rules import NO_FACTS, Fault, Rules
from tunnel.verify.proof.side import KINDS, NO_SERVER, REFUSALS, Pair, Seen, Side, Word


def tell(rules: Rules, side: Side, word: str) -> Side | None:
    """Put a word on its way; it takes the place of an untold one of its kind. None where there is no room."""
    if not side.is_linked or side.seen == Seen.ABSENT:
        return side
    if word in REFUSALS and side.peer != "requested":
        return side  # nobody waits for it
    told = (*(other for other in side.told if KINDS[other] is not KINDS[word]), word)
    return None if len(told) > rules.fault_model.room else side._replace(told=told)


def admit(rules: Rules, pair: Pair, who: int) -> Iterator[Pair]:
    """A node is welcomed: its old link is replaced, and it hears who is up."""
    side, other = pair.side(who), pair.side(1 - who)
    welcomed = node.register(rules, side._replace(seen=Seen.SILENT))
    if other.is_known:
        welcomed = welcomed._replace(told=(Word.UP if other.seen == Seen.ANNOUNCED else Word.UP_OLD,))
    yield pair.changed(who, welcomed, other, pair.askers)


def hear_announce(rules: Rules, pair: Pair, who: int) -> Iterator[Pair]:
    """An announcement is kept, acknowledged and passed on."""
    acked = tell(rules, pair.side(who)._replace(seen=Seen.ANNOUNCED), Word.ACK)
    informed = tell(rules, pair.side(1 - who), Word.UP)
    if acked is not None and informed is not None:
        yield pair.changed(who, acked, informed, pair.askers)


def hear_connect(rules: Rules, pair: Pair, who: int) -> Iterator[Pair]:
    """A request is refused, or answered by `pending` and by what becomes of it."""
    side, other = pair.side(who)._replace(is_asking=False), pair.side(1 - who)
    if other.seen == Seen.ABSENT:
        refused = tell(rules, side, Word.REFUSED)
        if refused is not None:
            yield pair.changed(who, refused, other, pair.askers)
    elif not pair.askers and side.is_known and other.is_known:
        yield from _introduce(rules, pair.changed(who, side, other, 0))
    elif "pending" not in rules.introduction.sends_of[rules.introduction.initial]:
        raise Fault("a request is not answered by pending")
    else:
        yield pair.changed(who, side, other, pair.askers | 1 << who)


def is_decided(pair: Pair) -> bool:
    """Whether an introduction that waits has what it waits for, or waits in vain."""
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
    """The server has waited long enough; nothing where that is no event of the chart."""
    outcome = rules.introduction.target(rules.introduction.initial, PATIENCE_ENDED, NO_FACTS)
    return iter(()) if outcome is None else _settle(rules, pair, outcome)


def miss(rules: Rules, pair: Pair, who: int) -> Iterator[Pair]:
    """The server finds out that a link has ended."""
    informed = tell(rules, pair.side(1 - who), Word.DOWN_LOST)
    if informed is not None:
        yield pair.changed(who, pair.side(who)._replace(seen=Seen.ABSENT), informed, pair.askers)


def stop(rules: Rules, pair: Pair) -> Iterator[Pair]:
    """The server ends, and everything that it knew."""
    sides = [node.unlink(rules, side) if side.is_linked else side for side in (pair.a, pair.b)]
    yield Pair(sides[0]._replace(seen=Seen.ABSENT), sides[1]._replace(seen=Seen.ABSENT), NO_SERVER)


def _settle(rules: Rules, pair: Pair, outcome: str) -> Iterator[Pair]:
    """Answer who asked; the answer must be true."""
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
    word = Word.TIMED_OUT if outcome == "timed_out" else Word.REFUSED
    yield from _told(
        tell(rules, pair.a, word) if pair.askers & 1 else pair.a,
        tell(rules, pair.b, word) if pair.askers & 2 else pair.b,
    )


def _introduce(rules: Rules, pair: Pair) -> Iterator[Pair]:
    """Tell both of each other."""
    words = (Word.INTRODUCED if other.seen == Seen.ANNOUNCED else Word.INTRODUCED_OLD for other in (pair.b, pair.a))
    yield from _told(tell(rules, pair.a, next(words)), tell(rules, pair.b, next(words)))


def _told(a: Side | None, b: Side | None) -> Iterator[Pair]:
    if a is not None and b is not None:
        yield Pair(a, b, 0)
