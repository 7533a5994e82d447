"""Filtering behavior of a NAT or firewall (RFC 4787 section 5), discovered as in RFC 5780 section 4.4.

    fresh socket --change both--> A:p   an answer from B:q: endpoint-independent
                 --change port--> A:p   an answer from A:q: address-dependent at most
                 --plain--------> A:p   an answer: the server is there, and the packets before this one passed too

Silence counts only if the same request was answered at a control socket, which had sent to those endpoints before.
Behind a mapping that depends on the destination it is enough that the other endpoints answer at all. It also counts
only while plain requests of the same moment are answered. A server with one address shows only whether ports are told
apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Filtering
from tunnel.nat.stun_client import StunClient, StunRequest, StunSocket
from tunnel.wire.stun import Change, StunClass

TEST_WAITS = (0.25, 0.35, 0.6)
"""Seconds after each round of requests of the test."""
CONTROL_WAITS = (0.3, 0.5)
MOST_SERVERS = 2
_LEAST_PLAIN = 2
"""This many plain requests of the test must be answered before silence counts."""
BOTH = Change.ADDRESS | Change.PORT


class Heard(Enum):
    """Whether an answer came from the alternate address or port that was asked for."""

    YES = "yes"
    NO = "no"
    VOID = "void"
    """Not known: the server cannot do it, or it is not known whether it can."""


@dataclass(frozen=True, slots=True)
class StunAddresses:
    """The endpoints of one STUN server (RFC 5780 section 7). None: it has no such one, as far as we know."""

    primary: Endpoint
    """A:p"""
    alternate_port: Endpoint | None = None
    """A:q"""
    alternate: Endpoint | None = None
    """B:q"""


def filtering_of(both: Heard, port: Heard) -> Filtering:
    """The filtering behavior that the two tests show together."""
    match both, port:
        case Heard.YES, _:
            return Filtering.ENDPOINT_INDEPENDENT
        case Heard.NO, Heard.YES:
            return Filtering.ADDRESS_DEPENDENT
        case _, Heard.NO:
            return Filtering.ADDRESS_AND_PORT_DEPENDENT
    return Filtering.UNKNOWN


@dataclass(frozen=True, slots=True)
class FilteringResult:
    """What both tests showed, and at which server."""

    addresses: StunAddresses
    both: Heard = Heard.VOID
    port: Heard = Heard.VOID


async def discover_filtering(
    stun_client: StunClient, servers: Sequence[StunAddresses], *, is_steady: bool
) -> FilteringResult:
    """Run control and tests from fresh sockets, at the first server that supports CHANGE-REQUEST.

    `is_steady`: the mapping is endpoint-independent. At most `MOST_SERVERS` are tried, 10 packets each; the tests take
    9 packets. About 2 s. Raises DeviceError when no socket can be had.
    """
    for addresses in servers[:MOST_SERVERS]:
        control = await stun_client.open_socket(is_ipv6=addresses.primary.is_ipv6)
        can_both, can_port = await _control(stun_client, control, addresses, is_steady=is_steady)
        if can_both or can_port:
            both, port = await _test(stun_client, addresses, can_both=can_both, can_port=can_port)
            return FilteringResult(addresses, both, port)
    return FilteringResult(servers[0])


async def _test(
    stun_client: StunClient, addresses: StunAddresses, *, can_both: bool, can_port: bool
) -> tuple[Heard, Heard]:
    tester = await stun_client.open_socket(is_ipv6=addresses.primary.is_ipv6)
    plain = tester.request(addresses.primary)
    both, port = tester.request(addresses.primary, BOTH), tester.request(addresses.primary, Change.PORT)
    for patience in TEST_WAITS:
        # A rate limiter drops the last packets first, so the plain request comes last.
        for request, is_wanted in ((both, can_both), (port, can_port), (plain, True)):
            if is_wanted and (request is plain or request.reply is None):
                request.send()
        await stun_client.wait(
            lambda: _is_from_alternate(both, addresses) or (port.reply is not None and not can_both), patience
        )
        if _is_from_alternate(both, addresses):
            break
    is_silence = plain.answered >= _LEAST_PLAIN
    return (
        _heard(both, _is_from_alternate(both, addresses), is_silence=is_silence and can_both),
        _heard(port, _is_from_alternate_port(port, addresses), is_silence=is_silence and can_port),
    )


async def _control(
    stun_client: StunClient, stun_socket: StunSocket, addresses: StunAddresses, *, is_steady: bool
) -> tuple[bool, bool]:
    """Whether the server can answer from its alternate (address and port, port), and we receive it."""
    endpoints = (addresses.primary, addresses.alternate_port, addresses.alternate)
    plain = [stun_socket.request(endpoint) for endpoint in endpoints if endpoint is not None]
    for patience in CONTROL_WAITS:
        for request in plain:
            if request.reply is None:
                request.send()
        await stun_client.wait(lambda: all(request.reply is not None for request in plain), patience)
    alive = {request.remote for request in plain if request.reply is not None}
    may_both, may_port = addresses.alternate in alive, addresses.alternate_port in alive
    if not is_steady or addresses.primary not in alive:
        return may_both and addresses.primary in alive, may_port and addresses.primary in alive
    both, port = stun_socket.request(addresses.primary, BOTH), stun_socket.request(addresses.primary, Change.PORT)
    for patience in CONTROL_WAITS:
        for request, is_wanted in ((both, may_both), (port, may_port)):
            if is_wanted and request.reply is None:
                request.send()
        await stun_client.wait(
            lambda: all(q.reply is not None or not may for q, may in ((both, may_both), (port, may_port))), patience
        )
    return _is_from_alternate(both, addresses), _is_from_alternate_port(port, addresses)


def _heard(request: StunRequest, is_heard: bool, *, is_silence: bool) -> Heard:
    if is_heard:
        return Heard.YES
    return Heard.NO if is_silence and request.reply is None else Heard.VOID


def _is_from_alternate(request: StunRequest, addresses: StunAddresses) -> bool:
    reply = request.reply
    return reply is not None and reply.message.kind is StunClass.SUCCESS and reply.source.host != addresses.primary.host


def _is_from_alternate_port(request: StunRequest, addresses: StunAddresses) -> bool:
    reply = request.reply
    if reply is None or reply.message.kind is not StunClass.SUCCESS:
        return False
    return reply.source.host == addresses.primary.host and reply.source.port != addresses.primary.port
