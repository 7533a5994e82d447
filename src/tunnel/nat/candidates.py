"""Candidates: where peers may reach us, and the order in which we probe theirs (RFC 8445 sections 5.1.1, 5.1.2). Pure.

A candidate is worth a few probes, never trust: only an authenticated answer proves a path. So we rather offer one too
many, and leave out only what cannot help: link-local addresses, the tunnel's own addresses, loopback.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, zip_longest

from tunnel.model.announcement import MAX_CANDIDATES
from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.endpoint import Endpoint, Scope, is_usable, packed_host, scope_of
from tunnel.nat.gateways.lease import is_contradicted
from tunnel.nat.survey import SurveyResult

MAX_REFLEXIVE = 8
"""More distinct endpoints than these come from a NAT that maps each destination anew: none of them helps a peer."""


def own_endpoints(addresses: Iterable[str], bound: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Each endpoint of our sockets on our interfaces: a wildcard socket has one on each address of its family.

    `addresses` are numeric, without zone index (`Interfaces.addresses`); `bound` are the sockets' `local` endpoints.
    """
    addresses = tuple(addresses)
    found: dict[Endpoint, None] = {}
    for local in bound:
        if local.is_wildcard:
            hosts: tuple[str, ...] = tuple(host for host in addresses if (":" in host) == local.is_ipv6)
        else:
            hosts = (local.host,)
        found.update(dict.fromkeys(Endpoint(host, local.port) for host in hosts))
    return tuple(found)


def gather(
    addresses: Iterable[str],
    bound: Iterable[Endpoint],
    *,
    survey: SurveyResult | None = None,
    declared: Endpoint | None = None,
    mapped: Iterable[Endpoint] = (),
    exclude: Sequence[str] = (),
) -> tuple[Candidate, ...]:
    """The candidates that we announce, each endpoint once, at most MAX_CANDIDATES.

    `mapped` are the endpoints that gateways claim. A private one is reachable only within a carrier's or home network.
    One at which no STUN server sees us is behind another NAT, or false. Neither counts as mapped. `exclude` are
    prefixes or addresses, above all the tunnel's own, since a tunnel through itself would loop. Loopback is offered
    only by a machine that has nothing else.
    """
    excluded = [_network(prefix) for prefix in exclude]
    own = [endpoint for endpoint in own_endpoints(addresses, bound) if not _is_within(endpoint.host, excluded)]
    near = [endpoint for endpoint in own if scope_of(endpoint.host) not in (Scope.LOOPBACK, Scope.LINK)]
    has_loopback_only = not near and declared is None
    if has_loopback_only:
        near = [endpoint for endpoint in own if scope_of(endpoint.host) is Scope.LOOPBACK]
    hosts = [Candidate(endpoint, _kind_of(endpoint)) for endpoint in near]
    outer = [(declared, CandidateKind.DECLARED)]
    outer += [(endpoint, kind) for endpoint in mapped if (kind := _kind_of_mapped(endpoint, survey)) is not None]
    if survey is not None:
        outer += [(endpoint, CandidateKind.REFLEXIVE) for endpoint in survey.reflexive[:MAX_REFLEXIVE]]
    candidates: dict[Endpoint, Candidate] = {candidate.endpoint: candidate for candidate in hosts}
    first: list[Candidate] = []
    for endpoint, kind in outer:
        if endpoint is None or not is_usable(endpoint) or _is_within(endpoint.host, excluded):
            continue
        if scope_of(endpoint.host) is Scope.LOOPBACK and not has_loopback_only:
            continue
        if endpoint not in candidates:
            first.append(candidates.setdefault(endpoint, Candidate(endpoint, kind)))
    lan = [candidate for candidate in hosts if candidate.kind is CandidateKind.LAN]
    ipv6 = [candidate for candidate in hosts if candidate.kind is CandidateKind.IPV6]
    return tuple(chain(first, _alternating(lan, ipv6)))[:MAX_CANDIDATES]


def order(own: Sequence[Candidate], theirs: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Their candidates in the order to probe them: the same LAN, then IPv6 and open ports, then reflexive ones.

    Only endpoints that are also ours are left out. A LAN counts as the same if both sides were seen at one external
    address, or if two addresses share a /24 (IPv4) or /64. Other LANs come last: a private address elsewhere most
    likely belongs to some other machine. Equal ranks keep the order of the announcement.
    """
    ours = {candidate.endpoint for candidate in own}
    outer = {candidate.endpoint.host for candidate in own if candidate.kind in _OUTER}
    shares_outer = any(one.kind in _OUTER and one.endpoint.host in outer for one in theirs)
    lans = {_lan_of(candidate.endpoint.host) for candidate in own if candidate.kind not in _OUTER}
    families = {candidate.endpoint.is_ipv6 for candidate in own}

    def rank(candidate: Candidate) -> tuple[bool, int]:
        host = candidate.endpoint.host
        is_inside = scope_of(host) is not Scope.GLOBAL
        if candidate.kind in _OUTER or candidate.kind is CandidateKind.PREDICTED:
            place = _PLACES[candidate.kind]
        elif _lan_of(host) in lans:
            place = 0
        elif is_inside:
            place = 1 if shares_outer else 6
        else:
            place = 2
        return candidate.endpoint.is_ipv6 not in families, place

    return tuple(sorted((one for one in theirs if one.endpoint not in ours), key=rank))


_OUTER = frozenset(
    {CandidateKind.REFLEXIVE, CandidateKind.MAPPED, CandidateKind.DECLARED, CandidateKind.PEER_REFLEXIVE}
)
_PLACES = {
    CandidateKind.DECLARED: 3,
    CandidateKind.MAPPED: 3,
    CandidateKind.PEER_REFLEXIVE: 4,
    CandidateKind.REFLEXIVE: 4,
    CandidateKind.PREDICTED: 5,
}


def _kind_of(endpoint: Endpoint) -> CandidateKind:
    is_global_ipv6 = endpoint.is_ipv6 and scope_of(endpoint.host) is Scope.GLOBAL
    return CandidateKind.IPV6 if is_global_ipv6 else CandidateKind.LAN


def _kind_of_mapped(endpoint: Endpoint, survey: SurveyResult | None) -> CandidateKind | None:
    scope = scope_of(endpoint.host)
    if scope is not Scope.GLOBAL:
        return CandidateKind.LAN if scope in (Scope.PRIVATE, Scope.CARRIER) else None
    if survey is not None and is_contradicted(endpoint, survey.reflexive):
        return None
    return None if ipaddress.ip_address(endpoint.host).is_reserved else CandidateKind.MAPPED


def _lan_of(host: str) -> bytes:
    """The first 64 bits of an IPv6 address, the first 24 of an IPv4 one."""
    packed = packed_host(host)
    return packed[:8] if len(packed) == 16 else packed[:3]


@lru_cache(64)
def _network(prefix: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(prefix, strict=False)


def _is_within(host: str, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    address = ipaddress.ip_address(host)
    return any(address.version == network.version and address in network for network in networks)


def _alternating(one: Sequence[Candidate], other: Sequence[Candidate]) -> Iterator[Candidate]:
    """One of each in turn, so that neither a hundred bridges nor a hundred privacy addresses displace all others."""
    return (candidate for pair in zip_longest(one, other) for candidate in pair if candidate is not None)
