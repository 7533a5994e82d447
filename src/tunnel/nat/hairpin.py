"""Hairpinning: whether two sockets of ours reach each other by their mapped endpoints (RFC 4787 section 6).

Both send at the same time, a few times: where the NAT filters, the first packets open the filter for the later ones.
"""

from __future__ import annotations

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Filtering, Hairpin
from tunnel.nat.stun_client import StunClient, StunSocket

WAITS = (0.1, 0.2, 0.4)
"""Seconds after each round of packets."""


def hairpin_of(is_heard: bool | None, *, is_steady: bool, filtering: Filtering) -> Hairpin:
    """What a test shows (None: there was none). `is_steady`: the mapping is endpoint-independent.

    Behind another mapping a packet arrives from a port that the target's filter does not know. Silence proves nothing
    there, unless the filtering is endpoint-independent.
    """
    if is_heard:
        return Hairpin.YES
    if is_heard is None:
        return Hairpin.UNKNOWN
    return Hairpin.NO if is_steady or filtering is Filtering.ENDPOINT_INDEPENDENT else Hairpin.UNKNOWN


async def try_hairpin(
    stun_client: StunClient, one: tuple[StunSocket, Endpoint], other: tuple[StunSocket, Endpoint]
) -> bool:
    """Whether one of two sockets receives what the other sends to its mapped endpoint. At most 6 packets and 0.7 s."""
    (first, first_mapped), (second, second_mapped) = one, other
    requests = [(first.request(second_mapped), second), (second.request(first_mapped), first)]

    def is_heard() -> bool:
        return any(request.reply is not None and request.reply.stun_socket is target for request, target in requests)

    for patience in WAITS:
        for request, _ in requests:
            request.send()
        await stun_client.wait(is_heard, patience)
        if is_heard():
            return True
    return False
