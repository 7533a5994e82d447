"""Whether two sockets of ours reach each other by their outer endpoints (RFC 4787 section 6).

Both shoot at the same time, a few times: the first shots open a filter that asks for it, the later ones pass.
"""

from __future__ import annotations

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Filtering, Hairpin
from tunnel.nat.stun_client import Asker, StunClient

VOLLEYS = (0.1, 0.2, 0.4)
"""Seconds after each."""


def hairpin_of(is_heard: bool | None, *, is_steady: bool, filtering: Filtering) -> Hairpin:
    """What a try means (None: there was none). `is_steady`: one mapping for all destinations.

    Behind another mapping a shot arrives from a port that the filter of its target does not know: silence proves
    nothing there, unless everybody is let in.
    """
    if is_heard:
        return Hairpin.YES
    if is_heard is None:
        return Hairpin.UNKNOWN
    return Hairpin.NO if is_steady or filtering is Filtering.ENDPOINT_INDEPENDENT else Hairpin.UNKNOWN


async def try_hairpin(stun_client: StunClient, one: tuple[Asker, Endpoint], other: tuple[Asker, Endpoint]) -> bool:
    """Whether either of two askers hears the other at its outer endpoint. At most 6 packets and 0.7 s."""
    (first, first_mapped), (second, second_mapped) = one, other
    questions = [(first.question(second_mapped), second), (second.question(first_mapped), first)]

    def is_heard() -> bool:
        return any(question.reply is not None and question.reply.asker is target for question, target in questions)

    for patience in VOLLEYS:
        for question, _ in questions:
            question.shoot()
        await stun_client.wait(is_heard, patience)
        if is_heard():
            return True
    return False
