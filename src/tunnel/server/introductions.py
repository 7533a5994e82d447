"""Introducing the two nodes of a pair: at most one introduction of a pair waits at any time.

    connect(id, peer) -> pending, at once
                      -> introduced to both | refused (peer_offline, peer_info_timeout, refused)

No request is dropped in silence. An introduction lives through `IntroductionChart`: it waits until both nodes have
announced themselves, for `timings.introduction_wait` at most. Both are then told to begin at the same instant: who
hears of it later, waits less.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import trio

from tunnel.machines.introduction import IntroductionChart
from tunnel.machines.live import Living
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.reasons import ReasonCode
from tunnel.model.timings import Timings
from tunnel.server.presence import Member, Presence
from tunnel.wire.signals import Announce, Connect, Introduced, Pending, Refusal

MAX_WAITING = 16384
MAX_SETTLED = 16384
REPEAT_WINDOW = 2.0
"""Seconds in which a crossing or repeated request gets the answer that was already given."""
MAX_START_IN = 1.0
"""Seconds: no round trip that a node pretends to have holds its peer longer than this."""

_log = logging.getLogger(__name__)


class _Pair(NamedTuple):
    """Two nodes of one network, the lower id first."""

    network: NetworkId
    low: NodeId
    high: NodeId


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
    """Who asked, and the id of the latest request."""
    changed: trio.Event = field(default_factory=trio.Event)


@dataclass(frozen=True, slots=True)
class _Settled:
    """An introduction that was made a moment ago."""

    id: int
    at: float
    begin: float
    askers: dict[NodeId, int]
    announcements: tuple[Announce, Announce]


class Introductions:
    """All introductions of the server. Run `run` in a task; `request` may be called while it runs."""

    def __init__(self, presence: Presence, timings: Timings, draw_id: Callable[[], int]) -> None:
        """`draw_id`: a fresh id below 2**63, not repeated after a restart."""
        self._presence = presence
        self._timings = timings
        self._draw_id = draw_id
        self._waiting: dict[_Pair, _Waiting] = {}
        self._pairs_of: dict[tuple[NetworkId, NodeId], dict[_Pair, _Waiting]] = {}
        self._settled: OrderedDict[_Pair, _Settled] = OrderedDict()
        self._nursery: trio.Nursery | None = None
        self.statistics = IntroductionStatistics()
        presence.watch(self._on_change)

    @property
    def waiting(self) -> int:
        """How many pairs wait now."""
        return len(self._waiting)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the introductions that wait, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def request(self, asker: Member, connect: Connect) -> None:
        """Answer `connect`: now with a refusal or `pending`, later, to both, with what became of it."""
        peer_id = NodeId(connect.peer)
        if peer_id == asker.node:
            self._refuse(asker, connect.id, peer_id, ReasonCode.REFUSED, "a node is not introduced to itself")
            return
        peer = self._present(asker.network, peer_id)
        if peer is None:
            self._refuse(asker, connect.id, peer_id, ReasonCode.PEER_OFFLINE, "not registered at the server")
            return
        pair = _Pair(asker.network, min(asker.node, peer_id), max(asker.node, peer_id))
        if self._repeat(pair, asker, peer, connect):
            return
        waiting = self._waiting.get(pair)
        if waiting is None:
            if len(self._waiting) >= MAX_WAITING or self._nursery is None:
                self._refuse(asker, connect.id, peer_id, ReasonCode.REFUSED, "the server has too many introductions")
                return
            waiting = self._begin(pair, self._nursery)
        waiting.askers[asker.node] = connect.id
        asker.tell(Pending(connect.id, connect.peer, _missing(asker, peer)))

    def _begin(self, pair: _Pair, nursery: trio.Nursery) -> _Waiting:
        waiting = self._waiting[pair] = _Waiting({})
        for node in (pair.low, pair.high):
            self._pairs_of.setdefault((pair.network, node), {})[pair] = waiting
        nursery.start_soon(self._live, pair, waiting)
        return waiting

    async def _live(self, pair: _Pair, waiting: _Waiting) -> None:
        """One introduction, from its first request to the answer."""

        async def wait_both() -> str:
            while True:
                low, high = (self._present(pair.network, node) for node in (pair.low, pair.high))
                if low is None or high is None:
                    return "refuse"
                if low.announcement is not None and high.announcement is not None:
                    return "both_announced"
                waiting.changed = trio.Event()
                await waiting.changed.wait()

        living = Living(
            IntroductionChart(),
            {"waiting": wait_both},
            patience=lambda _: self._timings.introduction_wait,
            facts=dict,
            on_move=lambda state, event, to: _log.debug(
                "introduction moved", extra={"from": state, "event": event, "to": to}
            ),
        )
        outcome = "failed"
        try:
            await living.run()
            outcome = living.state
        except Exception:
            _log.exception("an introduction failed")
        finally:
            self._end(pair)
        self._settle(pair, waiting, outcome)

    def _settle(self, pair: _Pair, waiting: _Waiting, outcome: str) -> None:
        low, high = (self._present(pair.network, node) for node in (pair.low, pair.high))
        match outcome:
            case "introduced" if low is not None and high is not None and low.announcement and high.announcement:
                self._introduce(pair, waiting, (low, high), (low.announcement, high.announcement))
            case "timed_out":
                self.statistics.timed_out += 1
                self._refuse_askers(pair, waiting, ReasonCode.PEER_INFO_TIMEOUT)
            case "failed":
                self._refuse_askers(pair, waiting, ReasonCode.INTERNAL_ERROR, "the server's log says more")
            case _:
                self._refuse_askers(pair, waiting, ReasonCode.PEER_OFFLINE, "it left while we waited")

    def _introduce(
        self,
        pair: _Pair,
        waiting: _Waiting,
        members: tuple[Member, Member],
        announcements: tuple[Announce, Announce],
    ) -> None:
        now = trio.current_time()
        begin = now + min(MAX_START_IN, max(_one_way(members[0], members[1]), _one_way(members[1], members[0])))
        settled = _Settled(self._draw_id(), now, begin, waiting.askers, announcements)
        self._settled[pair] = settled
        self._settled.move_to_end(pair)
        while len(self._settled) > MAX_SETTLED or next(iter(self._settled.values())).at < now - REPEAT_WINDOW:
            self._settled.popitem(last=False)
        self.statistics.introduced += 1
        low, high = members
        self._tell_introduced(low, high, settled, *announcements)
        self._tell_introduced(high, low, settled, *reversed(announcements))

    def _tell_introduced(self, to: Member, peer: Member, settled: _Settled, own: Announce, theirs: Announce) -> None:
        start_in = max(0.0, settled.begin - trio.current_time() - _one_way(to, peer))
        to.news.put(
            Introduced(
                id=settled.id,
                peer=peer.node.raw,
                epoch=theirs.epoch,
                seq=theirs.seq,
                body=theirs.body,
                own_epoch=own.epoch,
                own_seq=own.seq,
                start_in=start_in,
            )
        )

    def _repeat(self, pair: _Pair, asker: Member, peer: Member, connect: Connect) -> bool:
        """Give a request that crossed with the peer's, or came again, the answer that its pair has just got."""
        settled = self._settled.get(pair)
        if settled is None or settled.at < trio.current_time() - REPEAT_WINDOW:
            return False
        if settled.askers.setdefault(asker.node, connect.id) != connect.id:
            return False
        own, theirs = asker.announcement, peer.announcement
        if own is None or theirs is None or {own, theirs} != set(settled.announcements):
            return False
        asker.tell(Pending(connect.id, connect.peer, ""))
        self._tell_introduced(asker, peer, settled, own, theirs)
        return True

    def _refuse(self, asker: Member, request: int, peer: NodeId, code: ReasonCode, evidence: str) -> None:
        self.statistics.refused += 1
        asker.tell(Refusal(request, peer.raw, code.value, evidence))

    def _refuse_askers(self, pair: _Pair, waiting: _Waiting, code: ReasonCode, evidence: str = "") -> None:
        """Without evidence given: whose announcement was missing."""
        for node, request in waiting.askers.items():
            asker = self._presence.find(pair.network, node)
            peer_id = pair.high if node == pair.low else pair.low
            if asker is not None:
                peer = self._presence.find(pair.network, peer_id)
                missing = "peer" if peer is None else _missing(asker, peer)
                seconds = self._timings.introduction_wait
                silent = f"no announcement within {seconds:g} s (missing: {missing})"
                self._refuse(asker, request, peer_id, code, evidence or silent)

    def _end(self, pair: _Pair) -> None:
        del self._waiting[pair]
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
    """Seconds from the server to this member; 0 when one of the two is not known, for then no difference is."""
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
