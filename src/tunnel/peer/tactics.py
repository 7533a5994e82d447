"""Which ways to try, for how long, and what to say if none answers: a pure function of both announcements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from tunnel.model.announcement import Announcement
from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.endpoint import Endpoint, Scope, is_usable, scope_of
from tunnel.model.nat import Udp
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.timings import Timings
from tunnel.model.way import Way
from tunnel.nat.candidates import order
from tunnel.peer.port_prediction.plan import PredictionPlan, is_hard, plan_prediction

HOPELESS_PATIENCE = 1.2
"""Seconds for one simultaneous round even where the reports speak against it: a STUN server may have lied."""
PORTS_OF_A_HOST = 4
"""Candidates tried at one address: a NAT with endpoint-dependent mapping shows a few, none of which helps."""
OPENING_TTL = 2
"""Enough to pass our own NAT, too little to reach theirs, which may hold an unsolicited packet against its sender."""


@dataclass(frozen=True, slots=True)
class PunchPlan:
    """A punch: the ways, the patience, and the reason that holds if no way is proved."""

    ways: tuple[Way, ...]
    patience: float
    otherwise: Reason
    is_hopeless: bool = False
    """The reports speak against it: it is tried once, and again when they change."""
    prediction: PredictionPlan | None = None
    """What follows the simultaneous tactic, where a port must be predicted."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to try."""
        return not self.ways


def plan_punch(
    own: Announcement,
    theirs: Announcement,
    sockets: Sequence[tuple[int, bool]],
    timings: Timings,
    known: Sequence[Way] = (),
    attempt: int = 0,
) -> PunchPlan:
    """The simultaneous tactic: their candidates from each socket of the family, then ways that answered before.

    It always runs; what the reports say of hard NATs only adds to it or shortens it.
    """
    families = {candidate.endpoint.is_ipv6 for candidate in own.candidates}  # a socket alone is no address to send from
    candidates = [
        Way(number, candidate.endpoint)
        for candidate in _few_of_each_host(order(own.candidates, theirs.candidates))
        for number, is_ipv6 in sockets
        if candidate.endpoint.is_ipv6 == is_ipv6 and is_ipv6 in families and is_usable(candidate.endpoint)
    ]
    ways = tuple(dict.fromkeys((*candidates, *known)))
    if own.relay_only or theirs.relay_only:
        who = "this node" if own.relay_only else theirs.name
        evidence = f"{who} was started with --relay-only or --no-udp"
        return PunchPlan((), 0.0, Reason(ReasonCode.RELAY_ONLY_BY_POLICY, evidence))
    is_near = may_share_a_lan(own, theirs)
    blocked = [name for name, body in (("us", own), (theirs.name, theirs)) if body.nat.udp is Udp.BLOCKED]
    if blocked:
        evidence = f"no STUN server answered {' and '.join(blocked)}"
        return PunchPlan(ways, HOPELESS_PATIENCE, Reason(ReasonCode.UDP_BLOCKED, evidence), is_hopeless=not is_near)
    if not ways:
        return PunchPlan(
            (), 0.0, Reason(ReasonCode.NO_CANDIDATES, f"{len(theirs.candidates)} candidates, none of our family")
        )
    evidence = f"{len(ways)} ways probed; mapping here {own.nat.mapping.value}, there {theirs.nat.mapping.value}"
    prediction = plan_prediction(own, theirs, attempt)
    if prediction is not None:
        return PunchPlan(
            ways, timings.prediction_patience, Reason(ReasonCode.GUESSING_FAILED, evidence), prediction=prediction
        )
    if is_hard(own) and is_hard(theirs):
        return PunchPlan(ways, HOPELESS_PATIENCE, Reason(ReasonCode.BOTH_HARD_NATS, evidence), is_hopeless=not is_near)
    return PunchPlan(ways, timings.punch_patience, Reason(ReasonCode.PROBES_UNANSWERED, evidence))


def may_share_a_lan(own: Announcement, theirs: Announcement) -> bool:
    """Whether the two may be in one LAN: then the NAT or firewall in front of it is not between them.

    They have an outer address in common; or one of them knows none, and both have addresses of one /24 (IPv6: /64).
    """
    seen, seen_there = (_hosts(each, CandidateKind.REFLEXIVE) for each in (own, theirs))
    if seen and seen_there:
        return not seen.isdisjoint(seen_there)
    here, there = ({_network(host) for host in _hosts(each, CandidateKind.LAN)} for each in (own, theirs))
    return not here.isdisjoint(there)


def _hosts(body: Announcement, kind: CandidateKind) -> set[str]:
    return {candidate.endpoint.host for candidate in body.candidates if candidate.kind is kind}


def _network(host: str) -> IPv4Network | IPv6Network:
    address = ip_address(host)
    return ip_network((address, 24 if address.version == 4 else 64), strict=False)


def _few_of_each_host(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """A host has a few ports at most; a peer that names many may want a victim scanned."""
    seen: Counter[str] = Counter()
    for candidate in candidates:
        seen[candidate.endpoint.host] += 1
        if seen[candidate.endpoint.host] <= PORTS_OF_A_HOST:
            yield candidate


def outer_endpoints(theirs: Announcement) -> tuple[Endpoint, ...]:
    """The peer's endpoints on the IPv4 internet, each once, the best first: port prediction may aim at these."""
    return tuple(
        dict.fromkeys(
            candidate.endpoint
            for candidate in theirs.candidates
            if candidate.kind in _OUTER
            and not candidate.endpoint.is_ipv6
            and is_usable(candidate.endpoint)
            and scope_of(candidate.endpoint.host) is Scope.GLOBAL
        )
    )


_OUTER = (CandidateKind.MAPPED, CandidateKind.DECLARED, CandidateKind.REFLEXIVE, CandidateKind.LAN)
"""LAN, too: a public host's own address is one."""
