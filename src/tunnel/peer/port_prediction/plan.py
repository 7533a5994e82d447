"""How to meet where an outer port must be guessed: a pure function of both NAT reports, the same on both sides.

    opener    opens sockets and aims them at the guesser: each makes its NAT show one more port, any of which would do
    guesser   asks port after port of the opener's address; one that is a port of the opener's sockets is a path

Who opens is whose port nobody can learn; who guesses has a port that is known. Where the opener's NAT lets anybody of
the guesser's address in, the guesser's port need not be known. Where it does not, both ports must be in reach: each
side can cover 2,048 pairs of one port of its own and one of the peer's, and two such flows must be each other's mirror.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from tunnel.model.announcement import Announcement
from tunnel.model.candidate import CandidateKind
from tunnel.model.nat import Allocation, Filtering, Mapping, NatReport, Udp
from tunnel.peer.probe_budget import PREDICTION_FLOWS, PREDICTION_SOCKETS

FIRST_PORT, LAST_PORT = 1024, 65535
"""Where NATs take ports from that choose at random (RFC 4787, section 4.2.1, leaves the lower ones alone)."""
PREDICTED_SOCKETS = 20
"""Of an opener whose NAT counts."""
PRESERVING_SOCKETS = 16
"""Of one whose NAT keeps ports where it can: each is told by itself."""
FEWEST_SOCKETS = 16
WANTED_HITS = 8.0
"""Hits to be expected within half of the flows: so many that all miss once in 3,000 times."""
CROSSED_SOCKETS = 40
"""Of an opener that counts, where the guesser's port must be met too."""
AHEAD = 8
"""So many ports that the guesser's count will come to are aimed at."""

Span = tuple[int, int]


class TacticName(Enum):
    """How a port is found. The values are words for people too."""

    PREDICTED = "predicted"
    """The opener's NAT counts: it samples the count while it opens, and tells where its ports are."""
    BLOCK = "block"
    """The opener's ports come from a range that was learned: few sockets are enough."""
    BIRTHDAY = "birthday"
    """The opener's ports are any: many sockets against many guesses (the birthday paradox)."""


class Aim(Enum):
    """At which ports of the guesser the opener's sockets knock."""

    ANNOUNCED = "announced"
    """At the endpoints that it announced: they hold, or any of its address does."""
    TOLD = "told"
    """At the port of the socket from which it guesses: a NAT that counts tells it."""
    SWEPT = "swept"
    """At every port of its block, from few sockets."""
    PICKED = "picked"
    """At a few ports of its block, from many sockets; the guesser's own flows fill the block."""
    AHEAD = "ahead"
    """At a few ports that its NAT's count will come to; the guesser's own flows lead it there."""


@dataclass(frozen=True, slots=True)
class PredictionPlan:
    """What one side does, and what the other. Both sides hold the same but for `we_open`."""

    name: TacticName
    we_open: bool
    """Else we guess."""
    sockets: int
    """That the opener opens."""
    spans: tuple[Span, ...] = ()
    """Ports, first and last, that the guesser tries; empty: those that the opener tells of."""
    aim: Aim = Aim.ANNOUNCED
    aim_block: Span | None = None
    """The guesser's block, where the opener aims at ports of it."""
    guess_sockets: int = 0
    """Sockets that the guesser opens to guess from; 0: it guesses from the one that stays."""

    @property
    def is_crossed(self) -> bool:
        """Whether both ports must be met, not the opener's alone."""
        return self.aim is not Aim.ANNOUNCED


def plan_prediction(own: Announcement, theirs: Announcement, attempt: int = 0) -> PredictionPlan | None:
    """The hard tactic for this pair; None where none is needed, or none can win.

    Swapped arguments give the mirrored answer. Where both could open, they take turns from attempt to attempt.
    """
    if Udp.BLOCKED in (own.nat.udp, theirs.nat.udp) or own.relay_only or theirs.relay_only:
        return None
    if own.static_key == theirs.static_key:
        return None
    is_our_turn = (own.static_key < theirs.static_key) == (attempt % 2 == 0)
    may_open = _can_be_met(own, theirs), _can_be_met(theirs, own)
    if any(may_open):
        we_open = is_our_turn if all(may_open) else may_open[0]
        return _alone(own.nat if we_open else theirs.nat, we_open=we_open)
    if not is_hard(own) or not is_hard(theirs):
        return None
    return _crossed(own.nat, theirs.nat, is_our_turn=is_our_turn)


def is_hard(body: Announcement) -> bool:
    """Whether no endpoint of this side can be learned in advance."""
    return body.nat.is_hard and not _has_open_door(body)


def _can_be_met(listener: Announcement, scanner: Announcement) -> bool:
    """Whether a guess that hits a port of the opener's makes a path."""
    if not is_hard(listener):
        return False
    if scanner.nat.mapping in _STEADY or _has_open_door(scanner):
        return True
    if not scanner.nat.is_hard or listener.nat.filtering not in _LETS_ADDRESS_IN:
        return False
    # The hit shows from where the guesser comes. An opener with one port for its whole address answers from the port
    # that was hit; one with a port for each remote endpoint aims anew, at the port from which the guesser always comes.
    return Mapping.ADDRESS_DEPENDENT in (listener.nat.mapping, scanner.nat.mapping)


def _alone(nat: NatReport, *, we_open: bool) -> PredictionPlan:
    """Only the opener's port is to be found."""
    if counts(nat):
        return PredictionPlan(TacticName.PREDICTED, we_open, _sockets_that_tell(nat))
    block = _block(nat)
    if nat.allocation is Allocation.BLOCK and block is not None:
        return PredictionPlan(TacticName.BLOCK, we_open, sockets_for(block), (block,))
    everywhere = (FIRST_PORT, LAST_PORT)
    return PredictionPlan(TacticName.BIRTHDAY, we_open, sockets_for(everywhere), (everywhere,))


def _crossed(own: NatReport, theirs: NatReport, *, is_our_turn: bool) -> PredictionPlan | None:
    """Both ports are to be found: who guesses, and how the opener aims, by what is known of the guesser's ports."""
    for guesses, aim in ((_tells_one_port, Aim.TOLD), (_has_one_port_in_block, Aim.SWEPT)):
        may_guess = [guesses(nat) and (aim is Aim.TOLD or in_reach(other)) for nat, other in _both(own, theirs)]
        if any(may_guess):
            we_open = is_our_turn if all(may_guess) else may_guess[1]
            return _aimed(own, theirs, aim, we_open=we_open)
    if not in_reach(own) or not in_reach(theirs):
        return None
    # Of two that have a new port for each flow, the one whose ports are known best opens: the other fills or counts.
    rank_own, rank_theirs = _width(own), _width(theirs)
    we_open = is_our_turn if rank_own == rank_theirs else rank_own < rank_theirs
    return _aimed(own, theirs, Aim.AHEAD if counts(theirs if we_open else own) else Aim.PICKED, we_open=we_open)


def _aimed(own: NatReport, theirs: NatReport, aim: Aim, *, we_open: bool) -> PredictionPlan:
    listener, scanner = (own, theirs) if we_open else (theirs, own)
    alone = _alone(listener, we_open=we_open)
    sockets, block, guess_sockets = alone.sockets, _block(scanner), 1
    match aim:
        case Aim.SWEPT:
            sockets = PREDICTION_SOCKETS if counts(listener) else 1
            guess_sockets = 0
        case Aim.PICKED:
            assert block is not None
            if counts(listener):
                sockets = PRESERVING_SOCKETS if not _is_counter(listener) else CROSSED_SOCKETS
                guess_sockets = min(PREDICTION_SOCKETS, 2 + math.ceil(_ports(block) / sockets))
            else:
                sockets = min(PREDICTION_SOCKETS, _width(listener) * 7 // 16)
                guess_sockets = FEWEST_SOCKETS
        case Aim.AHEAD:
            sockets = PRESERVING_SOCKETS if not _is_counter(listener) else CROSSED_SOCKETS
            guess_sockets = PREDICTION_SOCKETS
        case _:
            pass
    return PredictionPlan(alone.name, we_open, sockets, alone.spans, aim, block, guess_sockets)


def counts(nat: NatReport) -> bool:
    """Whether its next port can be foretold from the last one."""
    return nat.allocation in (Allocation.SEQUENTIAL, Allocation.PRESERVING)


def in_reach(nat: NatReport) -> bool:
    """Whether its next port is one of few enough that a peer whose port is unknown too can meet it."""
    return counts(nat) or (nat.allocation is Allocation.BLOCK and _block(nat) is not None and _width(nat) <= 2048)


def sockets_for(span: Span) -> int:
    """So many that guesses within this span expect `WANTED_HITS` hits before half of the flows are spent."""
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
    """The block from which it takes ports, without those where services are: a report may be made up for a victim."""
    if nat.block is None or nat.block[1] < FIRST_PORT:
        return None
    return max(FIRST_PORT, nat.block[0]), nat.block[1]


def _ports(span: Span) -> int:
    return span[1] - span[0] + 1


def _has_open_door(body: Announcement) -> bool:
    """Whether somebody vouches for an endpoint: mapped by the gateway or declared by the user."""
    return any(candidate.kind in (CandidateKind.MAPPED, CandidateKind.DECLARED) for candidate in body.candidates)


_STEADY = frozenset({Mapping.NONE, Mapping.ENDPOINT_INDEPENDENT})
_LETS_ADDRESS_IN = frozenset({Filtering.NONE, Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT})
