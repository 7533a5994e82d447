"""The STUN service: binding responses (RFC 8489), from another port or address where CHANGE-REQUEST asks (RFC 5780).

    socket 0  25.0.0.1:3478 -- change port ----> 25.0.0.1:3479
                            -- change address -> 25.0.0.2:3478
                            -- change both ----> 25.0.0.2:3479   = OTHER-ADDRESS, with two addresses only

The smallest request, 20 bytes, gets 56 bytes over IPv4 and 92 over IPv6 (with IP and UDP headers: 48 gets 84, 68 gets
140), since RFC 5780 requires OTHER-ADDRESS and RESPONSE-ORIGIN in every response. So a forged source amplifies by 1.8
or 2.1, at most `rate_per_source` times a second. RESPONSE-PORT, by which a client measures the lifetime of a mapping,
is honored for a port that lately sent a request to the same socket, at a low rate. Responses and indications are never
answered, so two servers cannot talk to each other for ever. It must not know networks or nodes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import trio

from tunnel.model.endpoint import Endpoint, is_usable
from tunnel.model.errors import MalformedFrame
from tunnel.model.rates import RateTable
from tunnel.network.datagrams import Segments, ServiceSocket
from tunnel.server.limits import source_of
from tunnel.wire.classic_stun import decode_classic_request, encode_classic_success
from tunnel.wire.frames import Kind
from tunnel.wire.stun import (
    BINDING,
    Attribute,
    Change,
    StunClass,
    StunMessage,
    binding_success,
    decode_stun,
    encode_stun,
    is_stun,
)

UNKNOWN_ATTRIBUTE = 420
FORBIDDEN = 403
REDIRECTS_PER_SOURCE = 1.0
"""Responses a second that one source may direct to another port; ten at once."""
REDIRECT_BURST = 10.0
CLIENT_MEMORY = 600.0
"""Seconds for which a client is remembered: no mapping that is measured is idle for longer."""
MAX_CLIENTS = 16384
BOTH = Change.PORT | Change.ADDRESS


OnRelayed = Callable[[int, Segments], None]
"""Takes what may be relayed datagrams: the number of the socket, and one read that holds nothing else."""

_RELAYED = int(Kind.RELAYED)


async def serve_stun(
    sockets: Sequence[ServiceSocket],
    *,
    rate_per_source: float,
    advertised: Sequence[Endpoint] | None = None,
    counts: StunCounts | None = None,
    on_relayed: OnRelayed | None = None,
) -> None:
    """Answer on all sockets until cancelled, at most `rate_per_source` times a second for one source (IPv6: one /64).

    `advertised` are the public endpoints of the sockets, if they differ from `local` (forwarded ports). To answer from
    another address the service needs a socket on each. Wildcard sockets count as one unknown address, and answer from
    the address that was asked. `on_relayed` takes the datagrams of the UDP relay, which shares the sockets.
    """
    service = _StunService(sockets, rate_per_source, advertised, counts or StunCounts(), on_relayed)
    async with trio.open_nursery() as nursery:
        for index in range(len(sockets)):
            nursery.start_soon(service.serve, index)


@dataclass(slots=True)
class StunCounts:
    """Datagrams since the start, by outcome."""

    answered: int = 0
    refused: int = 0
    """Answered with an error."""
    limited: int = 0
    ignored: int = 0
    """Junk, and anything but binding requests."""


class _StunService:
    def __init__(
        self,
        sockets: Sequence[ServiceSocket],
        rate: float,
        advertised: Sequence[Endpoint] | None,
        counts: StunCounts,
        on_relayed: OnRelayed | None,
    ) -> None:
        self._sockets = sockets
        self._known_as = tuple(advertised or (socket.local for socket in sockets))
        self._limits = RateTable(rate, max(rate, 1.0))
        self._redirects = RateTable(REDIRECTS_PER_SOURCE, REDIRECT_BURST)
        self._recent_clients = [_RecentClients() for _ in sockets]
        self._counts = counts
        self._on_relayed = on_relayed
        self._others = [
            {change: self._other(own, change) for change in (Change.PORT, Change.ADDRESS, BOTH)}
            for own in self._known_as
        ]

    async def serve(self, index: int) -> None:
        on_relayed = self._on_relayed
        while True:
            for read in await self._sockets[index].receive_segments():
                for segments in _split_by_kind(read):
                    if on_relayed is not None and segments.data and segments.data[0] == _RELAYED:
                        on_relayed(index, segments)
                        continue
                    for datagram in segments.datagrams():
                        self._answer_untrusted(index, datagram, segments.remote, segments.own)

    def _answer_untrusted(self, index: int, datagram: bytes, remote: Endpoint, own: str) -> None:
        answer = self._answer if is_stun(datagram) else self._answer_classic
        if not is_usable(remote):
            self._counts.ignored += 1
        elif not self._limits.take(source_of(remote.host), trio.current_time()):
            self._counts.limited += 1
        else:
            try:
                answer(index, datagram, remote, own)
            except MalformedFrame:
                self._counts.ignored += 1

    def _answer(self, index: int, datagram: bytes, remote: Endpoint, own: str) -> None:
        request = decode_stun(datagram)
        if request.kind is not StunClass.REQUEST or request.method != BINDING:
            raise MalformedFrame("not a binding request")
        speaker = self._others[index][request.change] if request.change else index
        unknown = request.not_understood
        if speaker is None or unknown:
            unknown = unknown or (Attribute.CHANGE_REQUEST,)
            self._refuse(index, request, remote, own, UNKNOWN_ATTRIBUTE, "Unknown Attribute", unknown)
            return
        target = self._target(index, request, remote)
        if target is None:
            self._refuse(index, request, remote, own, FORBIDDEN, "Forbidden")
            return
        answer = replace(
            binding_success(request, remote), origin=self._named(speaker), other=self._named(self._others[index][BOTH])
        )
        self._counts.answered += self._send(speaker, encode_stun(answer), target, own)

    def _target(self, index: int, request: StunMessage, remote: Endpoint) -> Endpoint | None:
        """Where the response goes: to the client, or to a port of its host that sent a request here (RFC 5780 section
        7.5).

        Otherwise one customer of a NAT could direct responses to another's port.
        """
        now = trio.current_time()
        if request.response_port is None or request.response_port == remote.port:
            self._recent_clients[index].note(remote, now)
            return remote
        target = Endpoint(remote.host, request.response_port)
        may = self._recent_clients[index].has(target, now) and self._redirects.take(source_of(remote.host), now)
        return target if may else None

    def _refuse(
        self,
        index: int,
        request: StunMessage,
        remote: Endpoint,
        own: str,
        code: int,
        phrase: str,
        unknown: tuple[int, ...] = (),
    ) -> None:
        refusal = StunMessage(
            StunClass.ERROR,
            request.transaction,
            error=code,
            phrase=phrase,
            unknown=unknown[:8],
            fingerprint=request.fingerprint,
        )
        self._counts.refused += self._send(index, encode_stun(refusal), remote, own)

    def _answer_classic(self, index: int, datagram: bytes, remote: Endpoint, own: str) -> None:
        """For RFC 3489 clients, which take silence for an answer: so a test that we cannot serve gets none."""
        request = decode_classic_request(datagram)
        others = self._others[index]
        speaker = others[request.change] if request.change else index
        if speaker is None or (request.change and others[BOTH] is None) or remote.is_ipv6:
            raise MalformedFrame("a test that this server cannot serve")
        answer = encode_classic_success(request, remote, self._named(speaker), self._named(others[BOTH]))
        self._counts.answered += self._send(speaker, answer, remote, own)

    def _send(self, speaker: int, datagram: bytes, target: Endpoint, own: str) -> bool:
        """A wildcard socket answers from the address that was asked; CHANGE-REQUEST changes only its port."""
        local = self._sockets[speaker].local
        return self._sockets[speaker].send_nowait(datagram, target, own if local.is_wildcard else local.host)

    def _other(self, own: Endpoint, change: Change) -> int | None:
        """The socket that differs from `own` in exactly what `change` says."""
        for index, other in enumerate(self._known_as):
            differs = Change.NOTHING if other.port == own.port else Change.PORT
            if other.host != own.host:
                differs |= Change.ADDRESS
            is_known = Change.ADDRESS not in differs or not (own.is_wildcard or other.is_wildcard)
            if differs == change and is_known and other.is_ipv6 == own.is_ipv6:
                return index
        return None

    def _named(self, index: int | None) -> Endpoint | None:
        return None if index is None or self._known_as[index].is_wildcard else self._known_as[index]


def _split_by_kind(segments: Segments) -> Sequence[Segments]:
    """One read, whole if all its datagrams begin with the same byte. A node asks and relays from the same socket."""
    data, size = segments.data, segments.segment_size
    if not size or bytes(data[::size]).count(data[0]) == -(-len(data) // size):
        return (segments,)
    return [segments._replace(data=datagram, segment_size=0) for datagram in segments.datagrams()]


class _RecentClients:
    """The clients of one socket lately. Beyond `MAX_CLIENTS` the one silent for longest is forgotten."""

    def __init__(self) -> None:
        self._since: OrderedDict[Endpoint, float] = OrderedDict()

    def note(self, remote: Endpoint, now: float) -> None:
        self._since[remote] = now
        self._since.move_to_end(remote)
        if len(self._since) > MAX_CLIENTS:
            self._since.popitem(last=False)

    def has(self, remote: Endpoint, now: float) -> bool:
        return now - self._since.get(remote, -CLIENT_MEMORY - 1.0) <= CLIENT_MEMORY
