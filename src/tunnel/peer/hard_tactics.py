"""How to meet where an outer port must be guessed: a pure function of both NAT reports, the same on both sides.

    opener    opens sockets towards the guesser: each makes its NAT show one more port, any of which would do
    guesser   asks port after port of the opener's address; one that is a port of the opener's sockets is a path

Who opens is whose port nobody can learn; who guesses has a port that is known. Where the opener's NAT lets anybody of
the guesser's address in, the guesser's port need not be known. Where it does not, both ports must be in reach.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from tunnel.model.announcement import Announcement
from tunnel.model.candidate import CandidateKind
from tunnel.model.nat import Allocation, Filtering, Mapping, NatReport, Udp
from tunnel.peer.budget import HARD_FLOWS, HARD_SOCKETS

FIRST_PORT, LAST_PORT = 1024, 65535
"""Where NATs take ports from that choose at random (RFC 4787, section 4.2.1, leaves the lower ones alone)."""
PREDICTED_SOCKETS = 20
FEWEST_SOCKETS = 16
WANTED_HITS = 8.0
"""Hits to be expected within half of the flows: so many that all miss once in 3,000 times."""

Span = tuple[int, int]


class TacticName(Enum):
    """How a port is found. The values are words for people too."""

    PREDICTED = "predicted"
    """The opener's NAT counts: it samples the count while it opens, and tells where its ports are."""
    BLOCK = "block"
    """The opener's ports come from a range that was learned: few sockets are enough."""
    BIRTHDAY = "birthday"
    """The opener's ports are any: many sockets against many guesses (the birthday paradox)."""


@dataclass(frozen=True, slots=True)
class HardTactic:
    """What one side does, and what the other. Both sides hold the same but for `we_open`."""

    name: TacticName
    we_open: bool
    """Else we guess."""
    sockets: int
    """That the opener opens."""
    spans: tuple[Span, ...]
    """Ports, first and last, that the guesser tries; empty: those that the opener tells of."""


def choose_hard(own: Announcement, theirs: Announcement, attempt: int = 0) -> HardTactic | None:
    """The hard tactic for this pair; None where none is needed, or none can win.

    Swapped arguments give the mirrored answer. Where both could open, they take turns from attempt to attempt.
    """
    if Udp.BLOCKED in (own.nat.udp, theirs.nat.udp) or own.relay_only or theirs.relay_only:
        return None
    if own.static_key == theirs.static_key:
        return None
    may_open = [_can_be_met(own, theirs), _can_be_met(theirs, own)]
    if not any(may_open):
        return None
    is_our_turn = (own.static_key < theirs.static_key) == (attempt % 2 == 0)
    we_open = is_our_turn if all(may_open) else may_open[0]
    name, sockets, spans = _search(own.nat if we_open else theirs.nat)
    return HardTactic(name, we_open, sockets, spans)


def is_hard(body: Announcement) -> bool:
    """Whether no endpoint of this side can be learned in advance."""
    return body.nat.is_hard and not _has_open_door(body)


def _can_be_met(opener: Announcement, guesser: Announcement) -> bool:
    """Whether a guess that hits a port of the opener's makes a path."""
    if not is_hard(opener):
        return False
    if guesser.nat.mapping in _STEADY or _has_open_door(guesser):
        return True
    if not guesser.nat.is_hard or opener.nat.filtering not in _LETS_ADDRESS_IN:
        return False
    # The hit shows from where the guesser comes. An opener with one port for its whole address answers from the port
    # that was hit; one with a port for each remote endpoint aims anew, at the port from which the guesser always comes.
    return Mapping.ADDRESS_DEPENDENT in (opener.nat.mapping, guesser.nat.mapping)


def _search(nat: NatReport) -> tuple[TacticName, int, tuple[Span, ...]]:
    """How the ports of this NAT are found: by what tactic, with how many sockets, in which ports."""
    match nat.allocation:
        case Allocation.SEQUENTIAL | Allocation.PRESERVING:
            return TacticName.PREDICTED, PREDICTED_SOCKETS, ()
        case Allocation.BLOCK if nat.block is not None:
            return TacticName.BLOCK, sockets_for(nat.block), (nat.block,)
        case _:
            everywhere = (FIRST_PORT, LAST_PORT)
            return TacticName.BIRTHDAY, sockets_for(everywhere), (everywhere,)


def sockets_for(span: Span) -> int:
    """So many that guesses within this span expect `WANTED_HITS` hits before half of the flows are spent."""
    ports = span[1] - span[0] + 1
    wanted = math.ceil(WANTED_HITS * ports / min(ports, HARD_FLOWS / 2))
    return min(HARD_SOCKETS, max(FEWEST_SOCKETS, wanted))


def _has_open_door(body: Announcement) -> bool:
    """Whether somebody vouches for an endpoint: mapped by the gateway or declared by the user."""
    return any(candidate.kind in (CandidateKind.MAPPED, CandidateKind.DECLARED) for candidate in body.candidates)


_STEADY = frozenset({Mapping.NONE, Mapping.ENDPOINT_INDEPENDENT})
_LETS_ADDRESS_IN = frozenset({Filtering.NONE, Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT})
