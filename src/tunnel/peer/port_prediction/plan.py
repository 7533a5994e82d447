"""How to meet where an outer port must be predicted: a pure function of both NAT reports, the same on both sides.

    listener  opens many sockets and sends from each to the scanner: its NAT maps one more port each time
    scanner   probes port after port of the listener's address; one that belongs to a socket of the listener is a path

The side whose port cannot be learned listens; the side whose port is known scans. Many ports against many probes hit by
the birthday paradox. Where the listener's NAT lets in every port of the scanner's address, the scanner's port need not
be known. Where it does not, both ports must be within reach: each side can cover 2,048 pairs of one port of its own and
one of the peer's, and two such flows must mirror each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from tunnel.model.announcement import Announcement
from tunnel.model.candidate import CandidateKind
from tunnel.model.nat import Allocation, Filtering, Mapping, NatReport, Udp
from tunnel.peer.port_prediction.limits import PREDICTION_FLOWS, PREDICTION_SOCKETS

FIRST_PORT, LAST_PORT = 1024, 65535
"""The range from which NATs take random ports (RFC 4787, section 4.2.1, leaves the lower ones alone)."""
PREDICTED_SOCKETS = 20
"""Of a listener whose NAT allocates ports in sequence."""
PRESERVING_SOCKETS = 16
"""Of a listener whose NAT preserves ports where it can: each port is reported separately."""
FEWEST_SOCKETS = 16
WANTED_HITS = 8.0
"""Hits expected within half of the flows: with so many, all miss once in 3,000 attempts."""
CROSSED_SOCKETS = 40
"""Of a listener whose NAT allocates in sequence, where the scanner's port must be met, too."""
NEXT_PORTS = 8
"""How many of the next ports of the scanner's NAT the listener aims at."""

Span = tuple[int, int]


class TacticName(Enum):
    """How a port is found. People see the values."""

    PREDICTED = "predicted"
    """The listener's NAT allocates in sequence: it samples ports while it opens sockets, and reports where they are."""
    BLOCK = "block"
    """The listener's ports come from a range that was learned: few sockets are enough."""
    BIRTHDAY = "birthday"
    """The listener's ports are random: many sockets against many probes (the birthday paradox)."""


class Aim(Enum):
    """Which ports of the scanner the listener's sockets send to."""

    ANNOUNCED = "announced"
    """The endpoints that it announced: these ports hold, or the listener's NAT lets in any port of the address."""
    REPORTED_PORT = "reported_port"
    """The one port from which it scans, which it reports: its NAT allocates in sequence."""
    WHOLE_BLOCK = "whole_block"
    """Every port of its block, from few sockets."""
    SOME_OF_BLOCK = "some_of_block"
    """Some ports of its block, from many sockets; the scanner's own flows fill the block."""
    NEXT_PORTS = "next_ports"
    """The ports that its NAT allocates soon; the scanner's own flows bring it there."""


@dataclass(frozen=True, slots=True)
class PredictionPlan:
    """What each side does. Both sides hold the same plan but for `we_listen`."""

    name: TacticName
    we_listen: bool
    """Else we scan."""
    sockets: int
    """That the listener opens."""
    spans: tuple[Span, ...] = ()
    """Ports, first and last, that the scanner probes; empty: those that the listener reports."""
    aim: Aim = Aim.ANNOUNCED
    aim_block: Span | None = None
    """The scanner's block, where the listener aims at ports of it."""
    scan_sockets: int = 0
    """Sockets that the scanner opens to scan from; 0: it scans from the one that stays open."""

    @property
    def is_crossed(self) -> bool:
        """Whether both ports must be met, not the listener's alone."""
        return self.aim is not Aim.ANNOUNCED


def plan_prediction(own: Announcement, theirs: Announcement, attempt: int = 0) -> PredictionPlan | None:
    """The plan for this pair; None where none is needed, or none can succeed.

    Swapped arguments give the mirrored plan. Where both could listen, they take turns from attempt to attempt.
    """
    if Udp.BLOCKED in (own.nat.udp, theirs.nat.udp) or own.relay_only or theirs.relay_only:
        return None
    if own.static_key == theirs.static_key:
        return None
    is_our_turn = (own.static_key < theirs.static_key) == (attempt % 2 == 0)
    may_listen = _can_be_met(own, theirs), _can_be_met(theirs, own)
    if any(may_listen):
        we_listen = is_our_turn if all(may_listen) else may_listen[0]
        return _alone(own.nat if we_listen else theirs.nat, we_listen=we_listen)
    if not is_hard(own) or not is_hard(theirs):
        return None
    return _crossed(own.nat, theirs.nat, is_our_turn=is_our_turn)


def is_hard(body: Announcement) -> bool:
    """Whether this side's mapping is endpoint-dependent and no endpoint of it is vouched for."""
    return body.nat.is_hard and not _has_vouched_endpoint(body)


def _can_be_met(listener: Announcement, scanner: Announcement) -> bool:
    """Whether a probe that hits a port of the listener's makes a path."""
    if not is_hard(listener):
        return False
    if scanner.nat.mapping in _STEADY or _has_vouched_endpoint(scanner):
        return True
    if not scanner.nat.is_hard or listener.nat.filtering not in _LETS_ADDRESS_IN:
        return False
    # The hit shows where the scanner comes from. A listener with one port for the scanner's whole address answers from
    # the port that was hit; one with a port for each remote endpoint aims anew, at the one port of the scanner.
    return Mapping.ADDRESS_DEPENDENT in (listener.nat.mapping, scanner.nat.mapping)


def _alone(nat: NatReport, *, we_listen: bool) -> PredictionPlan:
    """Only the listener's port is to be found."""
    if counts(nat):
        return PredictionPlan(TacticName.PREDICTED, we_listen, _sockets_that_tell(nat))
    block = _block(nat)
    if nat.allocation is Allocation.BLOCK and block is not None:
        return PredictionPlan(TacticName.BLOCK, we_listen, sockets_for(block), (block,))
    everywhere = (FIRST_PORT, LAST_PORT)
    return PredictionPlan(TacticName.BIRTHDAY, we_listen, sockets_for(everywhere), (everywhere,))


def _crossed(own: NatReport, theirs: NatReport, *, is_our_turn: bool) -> PredictionPlan | None:
    """Both ports are unknown. What is known of the scanner's ports decides who scans and where the listener aims."""
    for can_scan, aim in ((_tells_one_port, Aim.REPORTED_PORT), (_has_one_port_in_block, Aim.WHOLE_BLOCK)):
        may_scan = [
            can_scan(nat) and (aim is Aim.REPORTED_PORT or in_reach(other)) for nat, other in _both(own, theirs)
        ]
        if any(may_scan):
            we_listen = is_our_turn if all(may_scan) else may_scan[1]
            return _aimed(own, theirs, aim, we_listen=we_listen)
    if not in_reach(own) or not in_reach(theirs):
        return None
    # Of two that have a new port for each flow, the one whose ports are known best listens.
    rank_own, rank_theirs = _width(own), _width(theirs)
    we_listen = is_our_turn if rank_own == rank_theirs else rank_own < rank_theirs
    return _aimed(
        own, theirs, Aim.NEXT_PORTS if counts(theirs if we_listen else own) else Aim.SOME_OF_BLOCK, we_listen=we_listen
    )


def _aimed(own: NatReport, theirs: NatReport, aim: Aim, *, we_listen: bool) -> PredictionPlan:
    listener, scanner = (own, theirs) if we_listen else (theirs, own)
    alone = _alone(listener, we_listen=we_listen)
    sockets, block, scan_sockets = alone.sockets, _block(scanner), 1
    match aim:
        case Aim.WHOLE_BLOCK:
            sockets = PREDICTION_SOCKETS if counts(listener) else 1
            scan_sockets = 0
        case Aim.SOME_OF_BLOCK:
            assert block is not None
            if counts(listener):
                sockets = PRESERVING_SOCKETS if not _is_counter(listener) else CROSSED_SOCKETS
                scan_sockets = min(PREDICTION_SOCKETS, 2 + math.ceil(_ports(block) / sockets))
            else:
                sockets = min(PREDICTION_SOCKETS, _width(listener) * 7 // 16)
                scan_sockets = FEWEST_SOCKETS
        case Aim.NEXT_PORTS:
            sockets = PRESERVING_SOCKETS if not _is_counter(listener) else CROSSED_SOCKETS
            scan_sockets = PREDICTION_SOCKETS
        case _:
            pass
    return PredictionPlan(alone.name, we_listen, sockets, alone.spans, aim, block, scan_sockets)


def counts(nat: NatReport) -> bool:
    """Whether its next port can be predicted from the last one."""
    return nat.allocation in (Allocation.SEQUENTIAL, Allocation.PRESERVING)


def in_reach(nat: NatReport) -> bool:
    """Whether its next port is one of few enough that a peer whose port is unknown too can meet it."""
    return counts(nat) or (nat.allocation is Allocation.BLOCK and _block(nat) is not None and _width(nat) <= 2048)


def sockets_for(span: Span) -> int:
    """So many that probes within this span expect `WANTED_HITS` hits before half of the flows are spent."""
    wanted = math.ceil(WANTED_HITS * _ports(span) / min(_ports(span), PREDICTION_FLOWS / 2))
    return min(PREDICTION_SOCKETS, max(FEWEST_SOCKETS, wanted))


def _tells_one_port(nat: NatReport) -> bool:
    return nat.mapping is Mapping.ADDRESS_DEPENDENT and counts(nat)


def _has_one_port_in_block(nat: NatReport) -> bool:
    return nat.mapping is Mapping.ADDRESS_DEPENDENT and in_reach(nat)


def _is_counter(nat: NatReport) -> bool:
    """Whether one count gives the ports of all its sockets."""
    return nat.allocation is Allocation.SEQUENTIAL


def _sockets_that_tell(nat: NatReport) -> int:
    return PREDICTED_SOCKETS if _is_counter(nat) else PRESERVING_SOCKETS


def _both(one: NatReport, other: NatReport) -> tuple[tuple[NatReport, NatReport], tuple[NatReport, NatReport]]:
    return (one, other), (other, one)


def _width(nat: NatReport) -> int:
    block = _block(nat)
    return 1 if counts(nat) or block is None else _ports(block)


def _block(nat: NatReport) -> Span | None:
    """The block from which it takes ports, without the well-known ones: a report may be made up to harm a victim."""
    if nat.block is None or nat.block[1] < FIRST_PORT:
        return None
    return max(FIRST_PORT, nat.block[0]), nat.block[1]


def _ports(span: Span) -> int:
    return span[1] - span[0] + 1


def _has_vouched_endpoint(body: Announcement) -> bool:
    """Whether an endpoint is mapped by the gateway or declared by the user."""
    return any(candidate.kind in (CandidateKind.MAPPED, CandidateKind.DECLARED) for candidate in body.candidates)


_STEADY = frozenset({Mapping.NONE, Mapping.ENDPOINT_INDEPENDENT})
_LETS_ADDRESS_IN = frozenset({Filtering.NONE, Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT})
