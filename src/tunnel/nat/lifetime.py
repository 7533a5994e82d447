"""How long a NAT keeps an idle mapping, measured from sockets that nothing else uses (RFC 5780 section 4.6).

    holder for 8 s    asks, asks again 3 s later, is silent ...    8 s on: does an answer still come in?
    holder for 18 s   the same                                     18 s on
    ...               all at once, so the whole takes as long as the longest

A messenger asks the server to answer at a holder's outer port (RESPONSE-PORT). Each holder is tried once, since a
packet that comes in may itself keep the mapping. The second question is there because some NATs (netfilter among them)
keep a mapping longer once it was used for more than a moment, as a path is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.timings import Timings
from tunnel.nat.stun_client import Asker, open_stun_client
from tunnel.network.ports import Datagrams, Entropy
from tunnel.wire.stun import StunClass

SETTLING = 3.0
"""Seconds between the two questions that make a mapping look used."""
CONTROL = 1.0
"""Seconds for which any mapping lives: a holder that is not reached then cannot be reached at all."""
TRIES = (0.4, 0.8, 1.2)
"""Seconds after each try."""


@dataclass(frozen=True, slots=True)
class _Holder:
    asker: Asker
    mapped: Endpoint
    idle_since: float


async def measure_lifetime(
    datagrams: Datagrams, entropy: Entropy, server: Endpoint, rungs: Sequence[float]
) -> float | None:
    """The longest of `rungs` (rising, seconds) for which an idle mapping lived; `CONTROL` if it was none of them.

    None if it cannot be measured: the server answers at no other port, it is silent where it matters, or our outer
    address is not always the same. Takes as long as the first rung that fails, and 5 packets a rung where none is lost.
    Raises DeviceError when no socket can be had.
    """
    idles = (CONTROL, *rungs)
    async with open_stun_client(datagrams, entropy) as stun_client:
        messenger = await stun_client.open_asker(is_ipv6=server.is_ipv6)
        askers = [await stun_client.open_asker(is_ipv6=server.is_ipv6) for _ in idles]
        if None in [await _use(asker, server) for asker in askers]:
            return None
        await trio.sleep(SETTLING)
        holders = [await _use(asker, server) for asker in askers]
        lived = None
        for idle, holder in zip(idles, holders, strict=True):
            if holder is None:
                return lived
            await trio.sleep_until(holder.idle_since + idle)
            is_reached = await _reach(messenger, server, holder)
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


async def _use(asker: Asker, server: Endpoint) -> _Holder | None:
    question = asker.question(server)
    reply = await question.wait(TRIES)
    mapped = None if reply is None else reply.message.observed
    if mapped is None:
        return None
    return _Holder(asker, mapped, trio.current_time())


async def _reach(messenger: Asker, server: Endpoint, holder: _Holder) -> bool | None:
    """Whether an answer reaches a holder; None if that cannot be told."""
    plain = await messenger.question(server).wait(TRIES)
    seen = None if plain is None else plain.message.observed
    if seen is None or seen.host != holder.mapped.host:
        return None
    reply = await messenger.question(server, response_port=holder.mapped.port).wait(TRIES)
    if reply is None:
        return False
    return True if reply.message.kind is StunClass.SUCCESS and reply.asker is holder.asker else None
