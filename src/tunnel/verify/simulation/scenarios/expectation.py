"""Expectations: what must hold, and when. Values only; `runs/expectations.py` judges them.

Times are seconds since the run began.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When something must hold: `by` a moment at the latest (not before `after`), `at` one, or `since`..`until`."""

    by: float | None = None
    after: float = 0.0
    at: float | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectPeer(Moment):
    """How a node sees a peer. None is not checked; `state` may name several, as `relayed punching`."""

    word: ClassVar[str] = "peer"
    node: str
    peer: str
    state: str | None = None
    path: str | None = None
    """A `PathKind` (`model/way.py`), or none."""
    reason: str | None = None
    """A reason's code, or none."""
    rtt_at_most: float | None = None
    """Seconds: round trip of the path that carries."""
    path_mtu: int | None = None
    """Bytes that packets outside may have, as far as the node knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectNode(Moment):
    """How a node sees itself."""

    word: ClassVar[str] = "node"
    node: str
    server: str | None = None
    announcement: str | None = None
    mapping: str | None = None
    udp: str | None = None
    port_mapping: str | None = None
    note: str | None = None
    """Text that one of its notes contains, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectTraffic:
    """What arrived of the datagrams from one host to another, over the whole run."""

    word: ClassVar[str] = "traffic"
    who: str
    to: str
    lost_at_most: int | None = None
    longest_hole: float | None = None
    """Seconds between two arrivals, at most, from the first one on."""
    first_within: float | None = None
    """Seconds from the first sending to the first arrival, at most."""
    arrived_at_least: int | None = None
    arrived_at_most: int | None = None
    carried_after: float | None = None
    """Something that was sent after this moment must arrive."""
    after: float = 0.0
    before: float | None = None
    """Bound the moments of sending that the following three are about."""
    lost_share_at_most: float | None = None
    fragments_at_least: int | None = None
    """The largest record of data that `who` sent by UDP, to anybody, had so many datagrams."""
    fragments_at_most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectSignals:
    """How often a host sent a signal between two moments."""

    word: ClassVar[str] = "signals"
    host: str
    signal: str
    after: float = 0.0
    before: float | None = None
    at_least: int = 0
    at_most: int | None = None


Expectation: TypeAlias = ExpectPeer | ExpectNode | ExpectTraffic | ExpectSignals
ANY_EXPECTATION: tuple[type[ExpectPeer | ExpectNode | ExpectTraffic | ExpectSignals], ...] = (
    ExpectPeer,
    ExpectNode,
    ExpectTraffic,
    ExpectSignals,
)
