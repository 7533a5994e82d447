"""How long a NAT keeps an idle mapping, measured from sockets that nothing else uses (RFC 5780 section 4.6).

    socket for 8 s    sends, sends again 3 s later, is idle ...    after 8 s: does an answer still come in?
    socket for 18 s   the same                                     after 18 s
    ...               all at once, so the whole takes as long as the longest

Another socket asks the server to answer to the mapped port (RESPONSE-PORT). Each mapping is tested once, since a packet
that comes in may itself refresh it. The second request is there because some NATs (netfilter among them) keep a mapping
longer once it has been used for more than a moment, as a path is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.timings import Timings
from tunnel.nat.stun_client import StunSocket, open_stun_client
from tunnel.network.datagrams import Datagrams
from tunnel.network.ports import Entropy
from tunnel.wire.stun import StunClass

SETTLING = 3.0
"""Seconds between the two requests that make a mapping look used."""
CONTROL = 1.0
"""Seconds for which any mapping lives: one that is not reached then cannot be reached at all."""
TRIES = (0.4, 0.8, 1.2)
"""Seconds after each try."""


@dataclass(frozen=True, slots=True)
class _IdleMapping:
    stun_socket: StunSocket
    mapped: Endpoint
    idle_since: float


async def measure_lifetime(
    datagrams: Datagrams, entropy: Entropy, server: Endpoint, idle_times: Sequence[float]
) -> float | None:
    """The longest of `idle_times` (rising, seconds) that a mapping survived; `CONTROL` if it was none of them.

    None if it cannot be measured: the server does not support RESPONSE-PORT or falls silent, or our external address
    changes. Takes as long as the first idle time that fails; 5 packets for each, where none is lost. Raises DeviceError
    when no socket can be had.
    """
    idle_times = (CONTROL, *idle_times)
    async with open_stun_client(datagrams, entropy) as stun_client:
        requester = await stun_client.open_socket(is_ipv6=server.is_ipv6)
        sockets = [await stun_client.open_socket(is_ipv6=server.is_ipv6) for _ in idle_times]
        if None in [await _use(stun_socket, server) for stun_socket in sockets]:
            return None
        await trio.sleep(SETTLING)
        mappings = [await _use(stun_socket, server) for stun_socket in sockets]
        lived = None
        for idle, mapping in zip(idle_times, mappings, strict=True):
            if mapping is None:
                return lived
            await trio.sleep_until(mapping.idle_since + idle)
            is_reached = await _reach(requester, server, mapping)
            if is_reached is None:
                return None
            if not is_reached:
                return lived
            lived = idle
        return lived


def keepalive_for(lifetime: float | None, timings: Timings) -> float:
    """Seconds between two keepalives: half of what was measured, within bounds; `timings.keepalive` until then."""
    if lifetime is None:
        return timings.keepalive
    return min(max(lifetime / 2, timings.keepalive_least), timings.keepalive_most)


async def _use(stun_socket: StunSocket, server: Endpoint) -> _IdleMapping | None:
    reply = await stun_socket.request(server).wait(TRIES)
    mapped = None if reply is None else reply.message.observed
    if mapped is None:
        return None
    return _IdleMapping(stun_socket, mapped, trio.current_time())


async def _reach(requester: StunSocket, server: Endpoint, mapping: _IdleMapping) -> bool | None:
    """Whether an answer passes an idle mapping; None if that cannot be told."""
    plain = await requester.request(server).wait(TRIES)
    seen = None if plain is None else plain.message.observed
    if seen is None or seen.host != mapping.mapped.host:
        return None
    reply = await requester.request(server, response_port=mapping.mapped.port).wait(TRIES)
    if reply is None:
        return False
    return True if reply.message.kind is StunClass.SUCCESS and reply.stun_socket is mapping.stun_socket else None
