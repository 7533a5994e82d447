"""Introductions of two nodes of one network. At most one introduction of a pair waits at any time.

    connect(id, peer) -> pending, at once
                      -> introduced to both | refused (peer_offline, peer_info_timeout, version_mismatch, refused)

No request is dropped in silence. Two nodes that have announced themselves are introduced at once. Otherwise the
introduction waits until both have, for `timings.introduction_wait` at most (`IntroductionChart`). Both are then told to
begin at the same instant: the one that hears of it later waits less.

The introductions that wait are bounded for each asker, each network and in all. At the limit for all, the network that
has most waiting gives way, so that no network can starve another.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from dataclasses import dataclass, field

import trio

from tunnel.machines.introduction import IntroductionChart
from tunnel.machines.state_runner import StateRunner
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.protocol_version import refusal_evidence
from tunnel.model.reasons import ReasonCode
from tunnel.model.timings import Timings
from tunnel.network.ports import Entropy
from tunnel.server.pair import Pair
from tunnel.server.peer_updates import Introduction
from tunnel.server.presence import Member, Presence
from tunnel.wire.signals import Announce, Connect, Pending, Refusal

MAX_WAITING = 16384
MAX_WAITING_PER_NETWORK = 4096
MAX_WAITING_PER_ASKER = 64
MAX_SETTLED = 16384
REPEAT_WINDOW = 2.0
"""Seconds in which a crossing or repeated request gets the answer that was already given."""
MAX_START_IN = 1.0
"""Seconds: no round trip time that a node feigns delays its peer longer than this."""
TOO_MANY = "too many introductions wait"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class IntroductionStatistics:
    """Counts since the start."""

    introduced: int = 0
    refused: int = 0
    timed_out: int = 0


@dataclass(slots=True)
class _Waiting:
    """An introduction that waits."""

    askers: dict[NodeId, int]
    """The nodes that asked, each with the id of its latest request."""
    changed: trio.Event = field(default_factory=trio.Event)
    gave_way: bool = False
    """Whether it ended because too many wait."""


@dataclass(frozen=True, slots=True)
class _Settled:
    """An introduction that was made a moment ago."""

    id: int
    at: float
    begin: float
    askers: dict[NodeId, int]
    announcements: tuple[Announce, Announce]


class Introductions:
    """All introductions of the server. Run `run` in a task: introductions wait only while it runs."""

    def __init__(self, presence: Presence, timings: Timings, entropy: Entropy) -> None:
        """`entropy`: ids are not repeated after a restart."""
        self._presence = presence
        self._timings = timings
        self._entropy = entropy
        self._waiting: dict[NetworkId, dict[Pair, _Waiting]] = {}
        self._waiting_count = 0
        self._pairs_of: dict[tuple[NetworkId, NodeId], dict[Pair, _Waiting]] = {}
        self._settled: OrderedDict[Pair, _Settled] = OrderedDict()
        self._begun, self._to_run = trio.open_memory_channel[tuple[Pair, _Waiting]](math.inf)  # at most MAX_WAITING
        self.statistics = IntroductionStatistics()
        presence.watch(self._on_change)

    @property
    def waiting(self) -> int:
        """How many pairs wait now."""
        return self._waiting_count

    async def run(self) -> None:
        """Hold the introductions that wait, until cancelled."""
        async with trio.open_nursery() as nursery:
            async for pair, waiting in self._to_run:
                nursery.start_soon(self._live, pair, waiting)

    def request(self, asker: Member, connect: Connect) -> None:
        """Answer `connect`: now with a refusal or `pending`, and later both nodes with the outcome."""
        peer_id = NodeId(connect.peer)
        if peer_id == asker.node:
            self._refuse(asker, connect.id, peer_id, ReasonCode.REFUSED, "a node is not introduced to itself")
            return
        peer = self._present(asker.network, peer_id)
        if peer is None:
            self._refuse(asker, connect.id, peer_id, ReasonCode.PEER_OFFLINE, "not registered at the server")
            return
        if asker.protocol_version != peer.protocol_version:
            evidence = refusal_evidence(peer.protocol_version, asker.protocol_version)
            self._refuse(asker, connect.id, peer_id, ReasonCode.VERSION_MISMATCH, evidence)
            return
        pair = Pair.of(asker.network, asker.node, peer_id)
        if self._repeat(pair, asker, peer, connect):
            return
        waiting = self._waiting.get(pair.network, {}).get(pair)
        if waiting is None and asker.announcement is not None and peer.announcement is not None:
            asker.tell(Pending(connect.id, connect.peer, ""))
            low, high = (asker, peer) if asker.node == pair.low else (peer, asker)
            self._introduce(pair, {asker.node: connect.id}, low, high)
            return
        if waiting is None:
            if not self._make_room(asker):
                self._refuse(asker, connect.id, peer_id, ReasonCode.REFUSED, TOO_MANY)
                return
            waiting = self._begin(pair)
        waiting.askers[asker.node] = connect.id
        asker.tell(Pending(connect.id, connect.peer, _missing(asker, peer)))

    def _make_room(self, asker: Member) -> bool:
        """Whether one more introduction may wait for this asker; one of another network may be refused for it."""
        asked = self._pairs_of.get((asker.network, asker.node), {}).values()
        if sum(asker.node in waiting.askers for waiting in asked) >= MAX_WAITING_PER_ASKER:
            return False
        own = len(self._waiting.get(asker.network, ()))
        if own >= MAX_WAITING_PER_NETWORK:
            return False
        if self._waiting_count >= MAX_WAITING:
            largest = max(self._waiting.values(), key=len)
            if len(largest) <= own + 1:
                return False
            pair, waiting = next(iter(largest.items()))
            self._end(pair)
            waiting.gave_way = True
            waiting.changed.set()
        return True

    def _begin(self, pair: Pair) -> _Waiting:
        waiting = self._waiting.setdefault(pair.network, {})[pair] = _Waiting({})
        self._waiting_count += 1
        for node in (pair.low, pair.high):
            self._pairs_of.setdefault((pair.network, node), {})[pair] = waiting
        self._begun.send_nowait((pair, waiting))
        return waiting

    async def _live(self, pair: Pair, waiting: _Waiting) -> None:
        """One introduction, from its first request to the answer."""

        async def wait_both() -> str:
            while True:
                low, high = (self._present(pair.network, node) for node in (pair.low, pair.high))
                if low is None or high is None or waiting.gave_way:
                    return "refuse"
                if low.announcement is not None and high.announcement is not None:
                    return "both_announced"
                waiting.changed = trio.Event()
                await waiting.changed.wait()

        runner = StateRunner(
            IntroductionChart(),
            {"waiting": wait_both},
            patience=lambda _: self._timings.introduction_wait,
            facts=dict,
            on_move=lambda state, event, to: _log.debug(
                "introduction moved", extra={"from": state, "event": event, "to": to}
            ),
            about=f"{pair.low} {pair.high}",
        )
        outcome = "failed"
        try:
            await runner.run()
            outcome = runner.state
        except Exception:
            _log.exception("an introduction failed")
        finally:
            if not waiting.gave_way:
                self._end(pair)
        self._settle(pair, waiting, outcome)

    def _settle(self, pair: Pair, waiting: _Waiting, outcome: str) -> None:
        low, high = (self._present(pair.network, node) for node in (pair.low, pair.high))
        match outcome:
            case _ if waiting.gave_way:
                self._refuse_askers(pair, waiting, ReasonCode.REFUSED, TOO_MANY)
            case "introduced" if low is not None and high is not None and low.announcement and high.announcement:
                self._introduce(pair, waiting.askers, low, high)
            case "timed_out":
                self.statistics.timed_out += 1
                self._refuse_askers(pair, waiting, ReasonCode.PEER_INFO_TIMEOUT)
            case "failed":
                self._refuse_askers(pair, waiting, ReasonCode.INTERNAL_ERROR, "the server's log says more")
            case _:
                self._refuse_askers(pair, waiting, ReasonCode.PEER_OFFLINE, "it left while we waited")

    def _introduce(self, pair: Pair, askers: dict[NodeId, int], low: Member, high: Member) -> None:
        """Tell both of each other. Both have announced."""
        assert low.announcement is not None
        assert high.announcement is not None
        now = trio.current_time()
        begin = now + min(MAX_START_IN, max(_one_way(low, high), _one_way(high, low)))
        drawn = int.from_bytes(self._entropy.token(8), "big") >> 1
        settled = _Settled(drawn, now, begin, askers, (low.announcement, high.announcement))
        self._settled[pair] = settled
        self._settled.move_to_end(pair)
        while len(self._settled) > MAX_SETTLED or next(iter(self._settled.values())).at < now - REPEAT_WINDOW:
            self._settled.popitem(last=False)
        self.statistics.introduced += 1
        self._tell_introduced(low, high, settled)
        self._tell_introduced(high, low, settled)

    @staticmethod
    def _tell_introduced(to: Member, peer: Member, settled: _Settled) -> None:
        begin = settled.begin - _one_way(to, peer)
        to.updates.introduce(peer.node, Introduction(settled.id, begin, settled.askers.get(to.node)))

    def _repeat(self, pair: Pair, asker: Member, peer: Member, connect: Connect) -> bool:
        """Answer a request that crossed with the peer's, or came again, as its pair has just been answered."""
        settled = self._settled.get(pair)
        if settled is None or settled.at < trio.current_time() - REPEAT_WINDOW:
            return False
        if settled.askers.setdefault(asker.node, connect.id) != connect.id:
            return False
        own, theirs = asker.announcement, peer.announcement
        if own is None or theirs is None or {own, theirs} != set(settled.announcements):
            return False
        asker.tell(Pending(connect.id, connect.peer, ""))
        self._tell_introduced(asker, peer, settled)
        return True

    def _refuse(self, asker: Member, request: int, peer: NodeId, code: ReasonCode, evidence: str) -> None:
        self.statistics.refused += 1
        asker.tell(Refusal(request, peer.raw, code.value, evidence))

    def _refuse_askers(self, pair: Pair, waiting: _Waiting, code: ReasonCode, evidence: str = "") -> None:
        """Evidence that is not given says whose announcement was missing."""
        for node, request in waiting.askers.items():
            asker = self._presence.find(pair.network, node)
            peer_id = pair.high if node == pair.low else pair.low
            if asker is not None:
                peer = self._presence.find(pair.network, peer_id)
                missing = "peer" if peer is None else _missing(asker, peer)
                seconds = self._timings.introduction_wait
                silent = f"no announcement within {seconds:g} s (missing: {missing})"
                self._refuse(asker, request, peer_id, code, evidence or silent)

    def _end(self, pair: Pair) -> None:
        network = self._waiting[pair.network]
        del network[pair]
        if not network:
            del self._waiting[pair.network]
        self._waiting_count -= 1
        for node in (pair.low, pair.high):
            pairs = self._pairs_of[pair.network, node]
            del pairs[pair]
            if not pairs:
                del self._pairs_of[pair.network, node]

    def _present(self, network: NetworkId, node: NodeId) -> Member | None:
        member = self._presence.find(network, node)
        return None if member is None or member.leaving else member

    def _on_change(self, network: NetworkId, node: NodeId) -> None:
        for waiting in self._pairs_of.get((network, node), {}).values():
            waiting.changed.set()


def _one_way(member: Member, other: Member) -> float:
    """Seconds from the server to this member; 0 if either round trip is unknown, since only the difference counts."""
    if member.rtt is None or other.rtt is None:
        return 0.0
    return member.rtt / 2


def _missing(asker: Member, peer: Member) -> str:
    match asker.announcement is None, peer.announcement is None:
        case True, True:
            return "both"
        case True, False:
            return "own"
        case False, True:
            return "peer"
        case _:
            return ""
