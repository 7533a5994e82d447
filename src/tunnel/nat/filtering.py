"""Whose packets a NAT or firewall lets in (RFC 4787 section 5), learnt by RFC 5780 section 4.4, warily.

    fresh socket --change both--> A:p   an answer from B:q: anybody gets in
                 --change port--> A:p   an answer from A:q: any port of an address that we sent to
                 --plain--------> A:p   answers: the server is there, the packets before this one passed too

Silence is a fact only where the same wish was fulfilled at a socket that had opened the door before (the control), or,
behind a mapping that depends on the destination, where the other endpoints answer at all; and only while plain
questions of the same moment are answered. With one address a server shows whether ports are told apart, nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Filtering
from tunnel.nat.stun_client import Asker, Inquiry, Question
from tunnel.wire.stun import Change, StunClass

VOLLEYS = (0.25, 0.35, 0.6)
"""Seconds after each volley of the test."""
CONTROL = (0.3, 0.5)
MOST_SERVERS = 2
_LEAST_PLAIN = 2
"""So many plain questions of the test must be answered before silence counts."""
BOTH = Change.ADDRESS | Change.PORT


class Heard(Enum):
    """What became of a wish to be answered from elsewhere."""

    YES = "yes"
    NO = "no"
    VOID = "void"
    """The server cannot do it, or it is not known whether it can."""


@dataclass(frozen=True, slots=True)
class Doors:
    """The endpoints of one STUN server: `base` is A:p, `beside` A:q, `away` B:q."""

    base: Endpoint
    beside: Endpoint | None = None
    away: Endpoint | None = None


def filtering_of(both: Heard, port: Heard) -> Filtering:
    """What the two tests mean together."""
    match both, port:
        case Heard.YES, _:
            return Filtering.ENDPOINT_INDEPENDENT
        case Heard.NO, Heard.YES:
            return Filtering.ADDRESS_DEPENDENT
        case _, Heard.NO:
            return Filtering.ADDRESS_AND_PORT_DEPENDENT
    return Filtering.UNKNOWN


@dataclass(frozen=True, slots=True)
class Findings:
    """What both tests showed, and at whose doors."""

    doors: Doors
    both: Heard = Heard.VOID
    port: Heard = Heard.VOID


async def learn_filtering(inquiry: Inquiry, servers: Sequence[Doors], *, is_steady: bool) -> Findings:
    """Run control and tests from fresh sockets, at the first server that can do what is wished.

    `is_steady`: one mapping for all destinations. At most `MOST_SERVERS` are tried, 10 packets each; the tests are 9
    packets. About 2 s. Raises DeviceError when no socket can be had.
    """
    for doors in servers[:MOST_SERVERS]:
        control = await inquiry.open_asker(is_ipv6=doors.base.is_ipv6)
        can_both, can_port = await _control(inquiry, control, doors, is_steady=is_steady)
        if can_both or can_port:
            both, port = await _test(inquiry, doors, can_both=can_both, can_port=can_port)
            return Findings(doors, both, port)
    return Findings(servers[0])


async def _test(inquiry: Inquiry, doors: Doors, *, can_both: bool, can_port: bool) -> tuple[Heard, Heard]:
    tester = await inquiry.open_asker(is_ipv6=doors.base.is_ipv6)
    plain = tester.question(doors.base)
    both, port = tester.question(doors.base, BOTH), tester.question(doors.base, Change.PORT)
    for patience in VOLLEYS:
        for question, is_wanted in ((both, can_both), (port, can_port), (plain, True)):  # who counts, drops the last
            if is_wanted and (question is plain or question.reply is None):
                question.shoot()
        await inquiry.wait(lambda: _is_from_away(both, doors) or (port.reply is not None and not can_both), patience)
        if _is_from_away(both, doors):
            break
    is_silence = plain.answered >= _LEAST_PLAIN
    return (
        _heard(both, _is_from_away(both, doors), is_silence=is_silence and can_both),
        _heard(port, _is_from_beside(port, doors), is_silence=is_silence and can_port),
    )


async def _control(inquiry: Inquiry, asker: Asker, doors: Doors, *, is_steady: bool) -> tuple[bool, bool]:
    """Whether the server can answer from (another address and port, another port) so that we hear it."""
    openers = [asker.question(door) for door in (doors.base, doors.beside, doors.away) if door is not None]
    for patience in CONTROL:
        for opener in openers:
            if opener.reply is None:
                opener.shoot()
        await inquiry.wait(lambda: all(opener.reply is not None for opener in openers), patience)
    alive = {opener.remote for opener in openers if opener.reply is not None}
    may_both, may_port = doors.away in alive, doors.beside in alive
    if not is_steady or doors.base not in alive:
        return may_both and doors.base in alive, may_port and doors.base in alive
    both, port = asker.question(doors.base, BOTH), asker.question(doors.base, Change.PORT)
    for patience in CONTROL:
        for question, is_wanted in ((both, may_both), (port, may_port)):
            if is_wanted and question.reply is None:
                question.shoot()
        await inquiry.wait(
            lambda: all(q.reply is not None or not may for q, may in ((both, may_both), (port, may_port))), patience
        )
    return _is_from_away(both, doors), _is_from_beside(port, doors)


def _heard(question: Question, is_heard: bool, *, is_silence: bool) -> Heard:
    if is_heard:
        return Heard.YES
    return Heard.NO if is_silence and question.reply is None else Heard.VOID


def _is_from_away(question: Question, doors: Doors) -> bool:
    reply = question.reply
    return reply is not None and reply.message.kind is StunClass.SUCCESS and reply.source.host != doors.base.host


def _is_from_beside(question: Question, doors: Doors) -> bool:
    reply = question.reply
    if reply is None or reply.message.kind is not StunClass.SUCCESS:
        return False
    return reply.source.host == doors.base.host and reply.source.port != doors.base.port
