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
from tunnel.nat.stun_client import Asker, Question, StunClient
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
class StunAddresses:
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

    addresses: StunAddresses
    both: Heard = Heard.VOID
    port: Heard = Heard.VOID


async def learn_filtering(stun_client: StunClient, servers: Sequence[StunAddresses], *, is_steady: bool) -> Findings:
    """Run control and tests from fresh sockets, at the first server that can do what is wished.

    `is_steady`: one mapping for all destinations. At most `MOST_SERVERS` are tried, 10 packets each; the tests are 9
    packets. About 2 s. Raises DeviceError when no socket can be had.
    """
    for addresses in servers[:MOST_SERVERS]:
        control = await stun_client.open_asker(is_ipv6=addresses.base.is_ipv6)
        can_both, can_port = await _control(stun_client, control, addresses, is_steady=is_steady)
        if can_both or can_port:
            both, port = await _test(stun_client, addresses, can_both=can_both, can_port=can_port)
            return Findings(addresses, both, port)
    return Findings(servers[0])


async def _test(
    stun_client: StunClient, addresses: StunAddresses, *, can_both: bool, can_port: bool
) -> tuple[Heard, Heard]:
    tester = await stun_client.open_asker(is_ipv6=addresses.base.is_ipv6)
    plain = tester.question(addresses.base)
    both, port = tester.question(addresses.base, BOTH), tester.question(addresses.base, Change.PORT)
    for patience in VOLLEYS:
        for question, is_wanted in ((both, can_both), (port, can_port), (plain, True)):  # who counts, drops the last
            if is_wanted and (question is plain or question.reply is None):
                question.shoot()
        await stun_client.wait(
            lambda: _is_from_away(both, addresses) or (port.reply is not None and not can_both), patience
        )
        if _is_from_away(both, addresses):
            break
    is_silence = plain.answered >= _LEAST_PLAIN
    return (
        _heard(both, _is_from_away(both, addresses), is_silence=is_silence and can_both),
        _heard(port, _is_from_beside(port, addresses), is_silence=is_silence and can_port),
    )


async def _control(
    stun_client: StunClient, asker: Asker, addresses: StunAddresses, *, is_steady: bool
) -> tuple[bool, bool]:
    """Whether the server can answer from (another address and port, another port) so that we hear it."""
    openers = [asker.question(door) for door in (addresses.base, addresses.beside, addresses.away) if door is not None]
    for patience in CONTROL:
        for opener in openers:
            if opener.reply is None:
                opener.shoot()
        await stun_client.wait(lambda: all(opener.reply is not None for opener in openers), patience)
    alive = {opener.remote for opener in openers if opener.reply is not None}
    may_both, may_port = addresses.away in alive, addresses.beside in alive
    if not is_steady or addresses.base not in alive:
        return may_both and addresses.base in alive, may_port and addresses.base in alive
    both, port = asker.question(addresses.base, BOTH), asker.question(addresses.base, Change.PORT)
    for patience in CONTROL:
        for question, is_wanted in ((both, may_both), (port, may_port)):
            if is_wanted and question.reply is None:
                question.shoot()
        await stun_client.wait(
            lambda: all(q.reply is not None or not may for q, may in ((both, may_both), (port, may_port))), patience
        )
    return _is_from_away(both, addresses), _is_from_beside(port, addresses)


def _heard(question: Question, is_heard: bool, *, is_silence: bool) -> Heard:
    if is_heard:
        return Heard.YES
    return Heard.NO if is_silence and question.reply is None else Heard.VOID


def _is_from_away(question: Question, addresses: StunAddresses) -> bool:
    reply = question.reply
    return reply is not None and reply.message.kind is StunClass.SUCCESS and reply.source.host != addresses.base.host


def _is_from_beside(question: Question, addresses: StunAddresses) -> bool:
    reply = question.reply
    if reply is None or reply.message.kind is not StunClass.SUCCESS:
        return False
    return reply.source.host == addresses.base.host and reply.source.port != addresses.base.port
