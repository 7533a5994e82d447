"""From what STUN servers saw to the words of RFC 4787: pure, and wary of a server that lies.

Each answer is one observation: a destination (address and port of a server) and the endpoint it saw us at. The rules:

- All equal: no NAT if it is an endpoint of our own, else endpoint independent. Seen from one server address alone this
  cannot tell an address-dependent NAT, which are rare; `SurveyResult.observers` says how many addresses there were.
- More than half equal, from two server addresses or more: the same; the others lie, or met a port that was taken.
- Two answers that differ: dependent if one server address or our own server gave both, else unknown, since one of the
  two may lie.
- More answers and no such majority: dependent. Whichever single one we leave out, the others still disagree. If one
  server address alone stands against a lone other one, nobody confirms either: unknown.

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
    """Where it saw us."""
    rtt: float
    """Seconds."""
    is_own: bool = False
    """From our own server, which proved itself on the link: what its addresses see is one observer's word."""
    other: Endpoint | None = None
    """What it calls its other address (RFC 5780), if it says that it has one."""


def ranked(answers: Sequence[StunAnswer]) -> tuple[Endpoint, ...]:
    """Each distinct mapped endpoint, those that most destinations saw first, among equals the first seen."""
    return tuple(endpoint for endpoint, _ in Counter(answer.mapped for answer in answers).most_common())


def telling(answers: Sequence[StunAnswer]) -> Sequence[StunAnswer]:
    """The answers that count: of one family (IPv4 if there are any), and those that saw us from outside our site.

    A server inside the site sees a private address of ours and knows nothing of the NAT behind it. Who was asked over
    IPv6 and saw an IPv4 address tells of a NAT64, which counts where nobody is asked over IPv4 itself.
    """
    if any(not answer.mapped.is_ipv6 for answer in answers):
        answers = [answer for answer in answers if not answer.mapped.is_ipv6]
        answers = [answer for answer in answers if not answer.remote.is_ipv6] or answers
    outside = [answer for answer in answers if scope_of(answer.mapped.host) is Scope.GLOBAL]
    return outside or answers


def mapping_of(answers: Sequence[StunAnswer], own: Collection[Endpoint]) -> Mapping:
    """The mapping behaviour (RFC 4787 section 4.1) that the telling answers show; `own` are our bound endpoints."""
    answers = telling(answers)
    if not answers:
        return Mapping.UNKNOWN
    favourite = ranked(answers)[0]
    agreeing = [answer for answer in answers if answer.mapped == favourite]
    if len(agreeing) == len(answers):
        return _constant(favourite, own, len(answers))
    if 2 * len(agreeing) > len(answers):
        return _constant(favourite, own, len(answers)) if _addresses(agreeing) > 1 else Mapping.UNKNOWN
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
    """How far one socket shows the allocation of ports: preserving or not known."""
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
