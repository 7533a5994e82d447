"""A node of the model: its two charts, and what the activities of their states do.

The activities do here what they do in peer/request_states.py, peer/connect_states.py and node/announcer.py: when they
return which event, and what they send. Whether they may is asked of the charts, as `StateRunner` does.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunnel.machines.chart import PATIENCE_ENDED
from tunnel.verify.proof.rules import NO_FACTS, Fault, Rules
from tunnel.verify.proof.side import REFUSALS, Card, Message, Seen, Side

FALLS = frozenset({"paths_exhausted", "peer_info_timeout", PATIENCE_ENDED, "introduced", "path_lost"})
"""Events after which data needs another way: they must not ignore a relay that carries."""

PROBING = frozenset({"punching", "connected", "relayed"})
"""States whose activity sends probes."""


def begin(rules: Rules, seen: str = Seen.ABSENT) -> Side:
    """A process that has just started."""
    return Side(peer=rules.peer.initial, announcement=rules.announcement.initial, seen=seen)


# The peer connection.


def activity_returns(rules: Rules, side: Side, event: str) -> Iterator[Side]:
    """The activity of the peer connection's state returns this event. Raises Fault where `StateRunner` would raise."""
    if event not in rules.peer.events_of[side.peer]:
        raise Fault(f"the activity of {side.peer} may not return {event}")
    target = rules.peer.target(side.peer, event, rules.valuation(side.has_relay))
    if target is None:
        raise Fault(f"{event} is not enabled in {side.peer}")
    return _enter(rules, side, event, target)


def post(rules: Rules, side: Side, event: str) -> Iterator[Side]:
    """An event for the peer connection from outside. One that is not enabled is forgotten."""
    target = rules.peer.target(side.peer, event, rules.valuation(side.has_relay))
    return iter((side,)) if target is None else _enter(rules, side, event, target)


def end_patience(rules: Rules, side: Side) -> Iterator[Side]:
    """The patience of the peer connection's state ends. Nothing where that is no event of the state."""
    target = rules.peer.target(side.peer, PATIENCE_ENDED, rules.valuation(side.has_relay))
    return iter(()) if target is None else _enter(rules, side, PATIENCE_ENDED, target)


def has_patience(rules: Rules, side: Side) -> bool:
    """Whether the state's patience is finite: `PeerConnection._patience`."""
    return side.peer in ("requested", "punching") or (side.peer == "relayed" and rules.is_direct_allowed)


def _enter(rules: Rules, side: Side, event: str, target: str) -> Iterator[Side]:
    """What entering a state does, and what must be true on entry."""
    in_flight = tuple(message for message in side.in_flight if message not in REFUSALS)
    moved = side._replace(peer=target, in_flight=in_flight)
    if target in PROBING and "probe" not in rules.peer.sends_of[target]:
        raise Fault(f"a probe is sent while {target}")
    if event == "introduced" and rules.is_direct_allowed and target != "punching":
        raise Fault("an introduction brings no punch")
    if event == "path_verified" and target != "connected":
        raise Fault("a proof of the path is not used")
    match target:
        case "detecting":
            raise Fault("detecting is entered again")
        case "announced":
            if event in FALLS and side.has_relay:
                raise Fault(f"{event} passes over a relay that carries")
            yield moved._replace(is_proved=False)
        case "requested":
            if event != "peer_wanted":
                raise Fault(f"requested by {event}, and nobody wants the peer")
            yield _connect(rules, moved)
        case "punching":
            if not rules.is_direct_allowed:
                raise Fault("punching although the policy forbids direct paths")
            if side.peer == target:
                raise Fault("a punch spends its budget twice")
            asking = moved if side.is_introduced else _connect(rules, moved)
            yield asking._replace(is_introduced=False, is_proved=False)
        case "connected":
            if not side.is_proved:
                raise Fault("connected without a proof of the path")
            yield moved._replace(is_introduced=False)
        case "relayed":
            if not side.has_relay:
                raise Fault("relayed although the relay does not carry")
            yield moved._replace(is_introduced=False, is_proved=False)
            if side.is_introduced and rules.is_direct_allowed:  # it came only just now: not used up
                yield moved._replace(is_proved=False)
        case _:
            yield moved


def _connect(rules: Rules, side: Side) -> Side:
    """Send `connect`, if there is a link."""
    if "connect" not in rules.peer.sends_of[side.peer]:
        raise Fault(f"connect is sent while {side.peer}")
    return side._replace(is_asking=side.is_linked)


# The announcement, and the link.


def announce(rules: Rules, side: Side, event: str, *, is_returned: bool = False) -> Side:
    """An event of the announcement, from outside or (`is_returned`) from its activity."""
    if is_returned and event not in rules.announcement.events_of[side.announcement]:
        raise Fault(f"the activity of {side.announcement} may not return {event}")
    target = rules.announcement.target(side.announcement, event, NO_FACTS)
    if target is None:
        if is_returned:
            raise Fault(f"{event} is not enabled in {side.announcement}")
        return side
    if target == "stale" and not side.is_dirty:
        raise Fault("stale, though nothing has changed")
    if target != "announcing":
        return side._replace(announcement=target)
    if "announce" not in rules.announcement.sends_of[target]:
        raise Fault("announce is sent while announcing")
    if not side.is_linked:
        raise Fault("announces to nobody")
    in_flight = tuple(message for message in side.in_flight if message != Message.ACK)  # it is for an older one
    return side._replace(announcement=target, is_dirty=False, in_flight=in_flight)


def change(rules: Rules, side: Side) -> Side:
    """What was announced is no longer true."""
    return announce(rules, side._replace(is_dirty=side.announcement != "surveying"), "changed")


def move(rules: Rules, side: Side) -> Iterator[Side]:
    """New addresses. A relayed side tries the direct path again: other addresses are another chance."""
    changed = change(rules, side)
    if side.peer == "relayed" and side.has_relay and rules.is_direct_allowed:
        yield from activity_returns(rules, changed, "introduced")
    else:
        yield changed


def register(rules: Rules, side: Side) -> Side:
    """The server welcomes us. All that it sends us comes after this."""
    welcomed = announce(rules, side._replace(is_linked=True, is_present=False), "registered")
    return _connect(rules, welcomed) if side.peer == "requested" else welcomed


def unlink(rules: Rules, side: Side) -> Side:
    """The link to the server has ended, with all that was in flight on it."""
    return announce(rules, side._replace(is_linked=False, is_asking=False, in_flight=()), "link_lost")


# What the server says.


def receive(rules: Rules, side: Side) -> Iterator[Side]:
    """The oldest message in flight arrives."""
    message, side = side.in_flight[0], side._replace(in_flight=side.in_flight[1:])
    match message:
        case Message.ACK:
            yield from _acknowledged(rules, side)
        case Message.UP:
            yield from _meet(rules, side, Card.CURRENT)
        case Message.UP_OLD:
            yield from _meet(rules, side, Card.OLD)
        case Message.DOWN_LOST:
            yield side._replace(is_present=False)
        case Message.DOWN_LEFT:
            yield from _let_go(rules, side._replace(is_present=False))
        case Message.INTRODUCED | Message.INTRODUCED_OLD:
            for met in _meet(rules, side, Card.CURRENT if message == Message.INTRODUCED else Card.OLD):
                is_kept = met.peer != "connected" and not (met.peer == "relayed" and not rules.is_direct_allowed)
                yield met._replace(is_introduced=is_kept)
        case Message.REFUSED | Message.TIMED_OUT:
            if side.peer == "requested":  # elsewhere it answers a request that is no longer open
                event = "refused" if message == Message.REFUSED else "peer_info_timeout"
                yield from activity_returns(rules, side, event)
            else:
                yield side


def _acknowledged(rules: Rules, side: Side) -> Iterator[Side]:
    """The server holds our announcement, which may have been made before the survey's verdict."""
    held = (
        announce(rules, side, "acknowledged_by_server", is_returned=True) if side.announcement == "announcing" else side
    )
    if held.peer == "detecting":
        yield from activity_returns(rules, held, "announcement_acked")
    yield held


def _meet(rules: Rules, side: Side, card: str) -> Iterator[Side]:
    """An announcement of the peer. That of a new process voids what was known of paths."""
    met = side._replace(card=card, is_present=True)
    if side.card == card:
        yield met
        return
    met = met._replace(is_proved=False)
    if side.card == Card.NONE:
        yield met
    else:
        yield from _let_go(rules, met)


def _let_go(rules: Rules, side: Side) -> Iterator[Side]:
    """The process that we knew has ended: nothing that was going on with it continues."""
    for left in post(rules, side, "peer_left"):
        if left.peer not in ("detecting", "announced"):
            raise Fault(f"{left.peer} goes on with a peer that has left")
        yield left
