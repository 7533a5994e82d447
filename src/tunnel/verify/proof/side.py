"""One side of the pair as a value: a node, its signals in flight, and what the server sees of it.

Two epochs are enough: that of the peer's present process, and any older one.
"""

from __future__ import annotations

from typing import NamedTuple


class Card:
    """Which announcement of the peer a side knows."""

    NONE = "none"
    OLD = "old"
    """Of a process that has ended."""
    CURRENT = "current"


class Seen:
    """What the server sees of a side."""

    ABSENT = "absent"
    SILENT = "silent"
    """Registered, not announced."""
    OLD = "old"
    """Announced by a process that has ended, and the server has not noticed yet that its link has too."""
    ANNOUNCED = "announced"


class Message:
    """A signal of the server to a node, as far as the model tells them apart."""

    ACK = "announced"
    UP_OLD = "peer_up, of an ended process"
    UP = "peer_up"
    DOWN_LOST = "peer_down: lost"
    DOWN_LEFT = "peer_down: left"
    INTRODUCED_OLD = "introduced, to an ended process"
    INTRODUCED = "introduced"
    REFUSED = "refused: peer_offline"
    TIMED_OUT = "refused: peer_info_timeout"


PRESENCE = frozenset({Message.UP_OLD, Message.UP, Message.DOWN_LOST, Message.DOWN_LEFT})
INTRODUCTIONS = frozenset({Message.INTRODUCED_OLD, Message.INTRODUCED})
REFUSALS = frozenset({Message.REFUSED, Message.TIMED_OUT})
KINDS = {message: kind for kind in (frozenset({Message.ACK}), PRESENCE, INTRODUCTIONS, REFUSALS) for message in kind}
"""Of each kind only the latest is in flight."""
AGED = {Message.UP: Message.UP_OLD, Message.INTRODUCED: Message.INTRODUCED_OLD}
"""What a message becomes when the process that it is about ends."""


class Side(NamedTuple):
    """See the module. `is_announcing` says whether an `announce` is in flight: nothing else matters about it."""

    peer: str
    """State of the peer connection's chart."""
    announcement: str
    """State of the announcement's chart."""
    card: str = Card.NONE
    is_present: bool = False
    """Whether this side believes that the server has a link to the peer."""
    is_introduced: bool = False
    """An introduction that no punch has used."""
    is_proved: bool = False
    """A probe of ours was answered over the direct path by the process that we know, since the last punch began."""
    is_linked: bool = False
    is_dirty: bool = False
    """What we would announce differs from what we announced last."""
    seen: str = Seen.ABSENT
    is_asking: bool = False
    """A `connect` is in flight."""
    in_flight: tuple[str, ...] = ()
    """Messages from the server, the oldest first."""

    @property
    def has_relay(self) -> bool:
        """The fact `relay`, as peer_state.py computes it."""
        return self.is_linked and self.is_present

    @property
    def is_known(self) -> bool:
        """Whether the server has something to introduce it with."""
        return self.seen in (Seen.ANNOUNCED, Seen.OLD)

    @property
    def is_announcing(self) -> bool:
        """Whether an announcement is in flight: sent, and not received by the server."""
        return self.is_linked and self.announcement == "announcing" and Message.ACK not in self.in_flight


class Pair(NamedTuple):
    """Both sides, and the introduction that waits at the server."""

    a: Side
    b: Side
    askers: int = 0
    """Bit 1: A waits for an answer, bit 2: B does. `NO_SERVER` while there is no server."""

    def side(self, who: int) -> Side:
        """A's side for 0, B's for 1."""
        return self.b if who else self.a

    def changed(self, who: int, mine: Side, other: Side, askers: int) -> Pair:
        """A pair with `mine` on this side."""
        return Pair(other, mine, askers) if who else Pair(mine, other, askers)

    @property
    def swapped(self) -> Pair:
        """The same pair with the two nodes' names exchanged."""
        return Pair(self.b, self.a, (0, 2, 1, 3, NO_SERVER)[self.askers])


NO_SERVER = 4
