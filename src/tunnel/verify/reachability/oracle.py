"""The oracle: whether two hosts can have a direct path at all, from RFC 4787's definitions and nothing else.

It shares no code with the simulated NATs, which it judges, nor with the tactics, which it also judges. It knows no time
and no chance: it asks which packets could pass, until nothing new follows.

    each side probes what the other announced (its port as STUN servers see it, "seen")
      -> the packet leaves by a port           section 4.1, mapping
      -> it passes the other side, or not      section 5, filtering
      -> who receives it learns where it came from, and probes back: peer-reflexive discovery

A path is a pair of outer endpoints in use in both directions: an answer comes from where the probe went (RFC 8445,
section 7.2.5.2.1). A port that nobody can learn may still be guessed; how many such ports there are is what tells
plain punching, tactics, and the relay apart.

It assumes probes that are repeated for PUNCH seconds, a STUN server that each side reaches and that tells the truth,
and addresses that are unique on their way. What a NAT does with an early unsolicited packet (`Unsolicited`) is not
considered: that is decided by who sends first, not by RFC 4787.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

from tunnel.model.nat import Filtering, Mapping
from tunnel.verify.reachability.nat_chain import OPEN, STEADY, Hop, NatChain, Side, reach_of, side_of
from tunnel.verify.reachability.topology import Hairpinning, Nat, Router, Udp

FLOWS = 2048
"""Pairs of socket and remote endpoint that one side may open in one attempt: routers need not bear more."""
FEW = 64
"""Ports: one unknown port among so few is as good as an announced one."""


class Possibility(Enum):
    """What a direct path takes."""

    PLAIN = "plain"
    """Simultaneous probes of all announced candidates, and probing back: this must win."""
    TACTICS = "tactics"
    """A port must be guessed, or a race won: this can win."""
    IMPOSSIBLE = "impossible"


class Cause(Enum):
    """What decides it."""

    SAME_NETWORK = "same_network"
    """A host address of one is within reach of the other."""
    IPV6 = "ipv6"
    """Both have an IPv6 address, and nothing translates it."""
    KNOWN_PORTS = "known_ports"
    """Both outer endpoints are announced ones."""
    LEARNED_PORT = "learned_port"
    """An outer endpoint shows itself by a probe that is let in."""
    ONE_PORT_UNKNOWN = "one_port_unknown"
    PORTS_IN_REACH = "ports_in_reach"
    """Both ports are unknown, but few ones can be meant."""
    MAPPING_EXPIRES = "mapping_expires"
    """What was announced may be gone before it is probed."""
    UDP_BLOCKED = "udp_blocked"
    NO_HAIRPIN = "no_hairpin"
    HAIRPIN_SOURCE = "hairpin_source"
    """The NAT sends packets back from their inner source, so that no answer comes from where the probe went."""
    BOTH_HARD = "both_hard"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is possible, and why."""

    possibility: Possibility
    cause: Cause


def direct_path_possible(one: NatChain, other: NatChain) -> Verdict:
    """What a direct path between two hosts takes. Both chains must name the same shared routers."""
    # Where no datagram passes, no datagram path exists (and no candidate is ever learned).
    if _blocks(one.own) or _blocks(other.own):
        return Verdict(Possibility.IMPOSSIBLE, Cause.UDP_BLOCKED)
    if one.shared and _meet_inside(one, other):
        return Verdict(Possibility.PLAIN, Cause.SAME_NETWORK)
    # RFC 6092: IPv6 is filtered, never translated. So each side's endpoint is the announced one, and each side's probe
    # is itself what opens its filter to the other's: simultaneous probes pass any filter.
    if one.ipv6 and other.ipv6:
        return Verdict(Possibility.PLAIN, Cause.IPV6)
    if _blocks(one.routers) or _blocks(other.routers):
        return Verdict(Possibility.IMPOSSIBLE, Cause.UDP_BLOCKED)
    return _across_nats(one, other)


def _meet_inside(one: NatChain, other: NatChain) -> bool:
    """On the network behind the nearest router that they share: host addresses are candidates too.

    Hosts behind the same nearest router simply talk. A host address is of use as long as the host's own routers do not
    translate it. A host whose address is translated has no announced endpoint on that network, but shows one by
    probing. No shared router is passed, so none can forbid it.
    """
    sides = side_of(one.own, one), side_of(other.own, other)
    announced = tuple(all(hop.mapping is Mapping.NONE for hop in side) for side in sides)
    return any(announced) and _meet(sides, announced=announced)


def _across_nats(one: NatChain, other: NatChain) -> Verdict:
    # The announced address is that of the outermost NAT. If both stand behind it, a probe must come back at it
    # (RFC 4787, section 6): it shows its outer source then (REQ-9), so the filters see two hosts of the internet.
    translating = [(place, router.nat) for place, router in enumerate(one.common) if router.nat is not None]
    if translating:
        corner, nat = translating[-1]
        match nat.hairpinning:
            case Hairpinning.NONE:
                return Verdict(Possibility.IMPOSSIBLE, Cause.NO_HAIRPIN)
            case Hairpinning.INTERNAL_SOURCE:
                return _by_inner_source(one, other, nat, one.common[:corner])
            case Hairpinning.EXTERNAL_SOURCE:
                pass
    sides = side_of(one.routers, one), side_of(other.routers, other)
    if not _meet(sides):
        return _by_tactics(sides)
    # A mapping that dies before it is probed: the next one has another port, unless ports are preserved (section 4.2.1)
    # or nothing is translated. The new mapping stays while probes go out, and is then a port that nobody announced.
    if not _meet((_aged(sides[0]), _aged(sides[1]))):
        return Verdict(Possibility.TACTICS, Cause.MAPPING_EXPIRES)
    are_known = all(hop.is_steady for side in sides for hop in side)
    return Verdict(Possibility.PLAIN, Cause.KNOWN_PORTS if are_known else Cause.LEARNED_PORT)


def _by_inner_source(one: NatChain, other: NatChain, nat: Nat, within: tuple[Router, ...]) -> Verdict:
    # REQ-9 is broken: a probe comes back from the sender's endpoint inside the shared NAT. What opened our own filter
    # was a probe to the outer address, which this is not; so only filters that ask for no address let it in, and the
    # rest happens on the inner network. The NAT itself lets it through if it knows the port as an announced one.
    sides = side_of((*one.own, *within), one), side_of((*other.own, *within), other)
    lets_through = nat.mapping in STEADY or nat.filtering in OPEN
    if lets_through and _meet(sides, mirrored=True):
        return Verdict(Possibility.PLAIN, Cause.LEARNED_PORT)
    return Verdict(Possibility.IMPOSSIBLE, Cause.HAIRPIN_SOURCE)


def _by_tactics(sides: _Sides) -> Verdict:
    # One port to guess: the other side tries that side's ports, of which it opens many (the birthday paradox) or
    # predicts the next. Whether that is enough follows from the same closure, with that side's ports known.
    if _meet(sides, known=0) or _meet(sides, known=1):
        return Verdict(Possibility.TACTICS, Cause.ONE_PORT_UNKNOWN)
    # Two: a guess must hit the port that the other's guess has just made. A flow is a pair (own port, port aimed at);
    # each side can open FLOWS of them, and two that are each other's mirror are a path. Of A x B pairs of ports they
    # cover so many that FLOWS^2 / (A B) mirrors are to be expected: 1 is 63 %. A side with a new port for each flow
    # (section 4.1, address- and port-dependent) opens no more than it has ports.
    ports = [reach_of(side) for side in sides]
    flows = [FLOWS if _has_one_port(side) else min(FLOWS, reach) for side, reach in zip(sides, ports, strict=True)]
    if flows[0] * flows[1] < ports[0] * ports[1]:
        return Verdict(Possibility.IMPOSSIBLE, Cause.BOTH_HARD)
    is_one_foretold = any(_has_one_port(side) and reach <= FEW for side, reach in zip(sides, ports, strict=True))
    return Verdict(Possibility.TACTICS, Cause.ONE_PORT_UNKNOWN if is_one_foretold else Cause.PORTS_IN_REACH)


def _has_one_port(side: Side) -> bool:
    """Whether a socket has one port for all endpoints of the peer's address (section 4.1, address-dependent)."""
    return all(hop.mapping is not Mapping.ADDRESS_AND_PORT_DEPENDENT for hop in side)


# --- The closure ---

_STUN = 3
_MIRROR = 2
"""The shared NAT's outer address, where it is no side of its own; the sides are 0 and 1."""
_ROUNDS = 6
"""Each round teaches a side one endpoint at most; what is not found in so many is never found."""
_Sides: TypeAlias = tuple[Side, Side]
_Port: TypeAlias = tuple[object, ...]
"""An outer port, named by what created it: for each hop the part of the remote that its mapping depends on."""


@dataclass(frozen=True, slots=True)
class _Place:
    """An outer endpoint."""

    address: int
    port: _Port


_STUN_SERVER = _Place(_STUN, ())


def _meet(
    sides: _Sides, *, announced: tuple[bool, ...] = (True, True), known: int | None = None, mirrored: bool = False
) -> bool:
    """Whether a path comes about. The ports of `known` are guessed; `mirrored` probes come back from inside."""
    return _close((_bare(sides[0]), _bare(sides[1])), announced, known, mirrored)


def _bare(side: Side) -> Side:
    """Only what decides whether the sides meet: the number of ports in reach does not."""
    return tuple(Hop(hop.mapping, hop.filtering) for hop in side)


@lru_cache(1 << 16)
def _close(sides: _Sides, announced: tuple[bool, ...], known: int | None, mirrored: bool) -> bool:
    asked: list[dict[_Place, None]] = [{_STUN_SERVER: None}, {_STUN_SERVER: None}]
    """By side, where it has sent something to, in that order."""
    for side in (0, 1):
        if announced[1 - side]:
            seen = _port_toward(_STUN_SERVER, sides[1 - side])
            asked[side][_Place(_MIRROR if mirrored else 1 - side, seen)] = None
    for _ in range(_ROUNDS):
        for side in (0, 1):
            peer = 1 - side
            for place in list(asked[side]):
                source = _Place(side, _port_toward(place, sides[side]))
                is_received = place.address in (peer, _MIRROR) and _passes(source, place.port, sides[peer], asked[peer])
                if is_received or known == side:
                    asked[peer][source] = None
    return any(_is_path(place, sides, asked) for place in asked[0])


def _is_path(place: _Place, sides: _Sides, asked: Sequence[dict[_Place, None]]) -> bool:
    """Whether what side 0 sends to this place arrives, and the answer comes from it and arrives too."""
    source = _Place(0, _port_toward(place, sides[0]))
    return (
        place.address == 1
        and source in asked[1]
        and _port_toward(source, sides[1]) == place.port
        and _passes(source, place.port, sides[1], asked[1])
        and _passes(place, source.port, sides[0], asked[0])
    )


def _port_toward(place: _Place, side: Side) -> _Port:
    """The outer port by which a packet leaves (RFC 4787, section 4.1)."""
    return tuple(_part_of(place, hop.mapping) for hop in side)


def _part_of(place: _Place, mapping: Mapping) -> object:
    match mapping:
        case Mapping.ADDRESS_DEPENDENT:
            return place.address
        case Mapping.ADDRESS_AND_PORT_DEPENDENT:
            return place
        case _:
            return None


def _passes(source: _Place, port: _Port, side: Side, asked: Iterable[_Place]) -> bool:
    """Whether a packet to this outer port of a side comes in through each hop (RFC 4787, section 5)."""
    through = [(place, _port_toward(place, side)) for place in asked]
    if not any(made == port for _, made in through):
        return False  # there is no such mapping
    for depth, hop in enumerate(side, start=1):
        opened = [place for place, made in through if made[:depth] == port[:depth]]
        match hop.filtering:
            case Filtering.ADDRESS_DEPENDENT if source.address not in [place.address for place in opened]:
                return False
            case Filtering.ADDRESS_AND_PORT_DEPENDENT if source not in opened:
                return False
            case _:
                pass
    return True


def _aged(side: Side) -> Side:
    """The same side once its announced ports are gone."""
    return tuple(
        replace(hop, mapping=Mapping.ADDRESS_DEPENDENT) if hop.expires and hop.is_steady else hop for hop in side
    )


def _blocks(routers: Sequence[Router]) -> bool:
    return any(router.udp is not Udp.OPEN for router in routers)
