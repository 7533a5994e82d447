"""The mapping behavior (RFC 4787) from what STUN servers saw. Pure, and prepared for a server that lies.

Each answer is one observation: a destination (address and port of a server) and the endpoint it saw us at. The rules:

- All equal: no NAT if it is an endpoint of our own, else endpoint-independent. One server address alone cannot show an
  address-dependent mapping, which is rare; `SurveyResult.observers` says how many addresses answered.
- More than half equal, from two server addresses or more: the same. The others lie, or met a port that was taken.
- Two answers that differ: dependent if one server address or our own server gave both; else unknown, since one of the
  two may lie.
- More answers and no such majority: dependent. Whichever single one is left out, the others still disagree. If one
  server address stands against a single other one, neither is confirmed: unknown.

So one lying server among three never makes us `hard`, and two that agree on a difference do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

from tunnel.model.endpoint import Endpoint, Scope, scope_of
from tunnel.model.nat import Allocation, Mapping


@dataclass(frozen=True, slots=True)
class StunAnswer:
    """What one destination said."""

    server: str
    """HOST:PORT as it stands in the settings."""
    remote: Endpoint
    """The endpoint that was asked and that answered."""
    mapped: Endpoint
    """The endpoint that it saw us at."""
    rtt: float
    """Seconds."""
    is_own: bool = False
    """From our own server, which is authenticated on the link: all its addresses count as one observer."""
    other: Endpoint | None = None
    """Its OTHER-ADDRESS (RFC 5780), if it gave one."""


def ranked(answers: Sequence[StunAnswer]) -> tuple[Endpoint, ...]:
    """Each distinct mapped endpoint, the most frequent first, then the earliest."""
    return tuple(endpoint for endpoint, _ in Counter(answer.mapped for answer in answers).most_common())


def telling(answers: Sequence[StunAnswer]) -> Sequence[StunAnswer]:
    """The answers that count: of one family (IPv4 if there are any), and from outside our site if there are any.

    A server inside the site sees a private address of ours and knows nothing of the NAT beyond it. An IPv4 address seen
    over IPv6 shows a NAT64; it counts only where no server was asked over IPv4 itself.
    """
    if any(not answer.mapped.is_ipv6 for answer in answers):
        answers = [answer for answer in answers if not answer.mapped.is_ipv6]
        answers = [answer for answer in answers if not answer.remote.is_ipv6] or answers
    outside = [answer for answer in answers if scope_of(answer.mapped.host) is Scope.GLOBAL]
    return outside or answers


def mapping_of(answers: Sequence[StunAnswer], own: Collection[Endpoint]) -> Mapping:
    """The mapping behavior (RFC 4787 section 4.1) that the telling answers show; `own` are our bound endpoints."""
    answers = telling(answers)
    if not answers:
        return Mapping.UNKNOWN
    favorite = ranked(answers)[0]
    agreeing = [answer for answer in answers if answer.mapped == favorite]
    if len(agreeing) == len(answers):
        return _constant(favorite, own, len(answers))
    if 2 * len(agreeing) > len(answers):
        return _constant(favorite, own, len(answers)) if _addresses(agreeing) > 1 else Mapping.UNKNOWN
    if _addresses(answers) == 1:
        return Mapping.DEPENDENT
    if len(answers) == 2 and not all(answer.is_own for answer in answers):
        return Mapping.UNKNOWN
    same_address = [
        one.mapped == other.mapped for one, other in combinations(answers, 2) if one.remote.host == other.remote.host
    ]
    if not same_address:
        return Mapping.DEPENDENT
    return Mapping.ADDRESS_DEPENDENT if all(same_address) else Mapping.ADDRESS_AND_PORT_DEPENDENT


def allocation_of(answers: Sequence[StunAnswer], mapping: Mapping, local_port: int) -> Allocation:
    """What one socket shows of the port allocation: preserving, or not known."""
    if mapping in (Mapping.UNKNOWN, Mapping.NONE):
        return Allocation.UNKNOWN
    ports = {answer.mapped.port for answer in telling(answers)}
    return Allocation.PRESERVING if ports == {local_port} else Allocation.UNKNOWN


def _constant(mapped: Endpoint, own: Collection[Endpoint], answers: int) -> Mapping:
    if mapped in own:
        return Mapping.NONE
    return Mapping.ENDPOINT_INDEPENDENT if answers > 1 else Mapping.UNKNOWN


def _addresses(answers: Sequence[StunAnswer]) -> int:
    return len({answer.remote.host for answer in answers})
