"""The route to one peer: which ways its datagrams take now, by what was heard and answered on each.

The hot path reads what is written to the flow here.
"""

from __future__ import annotations

import trio

from tunnel.dataplane.outbound import Outbound
from tunnel.model.status import PathStatus
from tunnel.model.way import RELAY, Way
from tunnel.peer.mtu_search import link_mtu_of
from tunnel.peer.path import NEVER, Path
from tunnel.peer.peer_state import PeerState
from tunnel.peer.session import Session
from tunnel.wire.frames import BASE_SIZE
from tunnel.wire.session_packets import Tally


class Routing:
    """One for each peer connection. Call `update` when a fact, a doubt or the state changed, `note_...` for input."""

    def __init__(self, peer: PeerState, session: Session, outbound: Outbound, *, mtu: int) -> None:
        self._peer = peer
        self._paths = peer.paths
        self._flow = peer.flow
        self._session = session
        self._outbound = outbound
        self._mtu = mtu
        self._measured: Way | None = None
        """The way by UDP that the record size is about; it stays while the link to the server alone carries."""

    def update(self) -> None:
        """Make the route anew; send what waited for one."""
        had_route = bool(self._flow.route)
        self._flow.is_direct_allowed = self._peer.is_direct_allowed
        ways = self._ways()
        by_udp = next((way for way in ways if way is not RELAY), None)
        if by_udp not in (None, self._measured):
            self._measured = by_udp
            self._flow.record_size.forget()
        self._flow.record_size.pause(by_udp is None)
        self._flow.route = ways
        self.resize()
        if self._flow.route and not had_route:
            self._paths.relay.asked = NEVER  # what went unanswered before says nothing of now
            self._session.hasten()
        if self._flow.route:
            self._outbound.flush(self._flow, trio.current_time())

    def resize(self) -> None:
        """The size that datagrams may have on some path changed."""
        sizes = [self._size_on(way) for way in self._flow.route if way.remote is not None]
        self._flow.datagram_size = min(sizes, default=BASE_SIZE)

    def forget(self) -> None:
        """The peer or its keys are new: nothing is known of any way."""
        self._paths.forget_all()
        self._flow.route = ()

    def note_answer(self, path: Path) -> None:
        """A probe of ours was answered."""
        if path.way.is_relay:
            self.update()
            return
        if not path.is_proved:
            return
        if self._flow.route == (RELAY,) and not self._is_udp_avoided():
            self.update()  # the peer's word has lapsed
        if self._paths.promote(trio.current_time()):
            self.update()
        elif path is not self._paths.chosen or self._peer.state == "connected":
            return  # else the old path was proved again, which is what punching waits for
        self._peer.notifier.notify()

    def note_tally(self, tally: Tally) -> None:
        """The peer says what it got of ours, by UDP and by the link."""
        now, record_size = trio.current_time(), self._flow.record_size
        record_size.note(tally.counted, tally.came, now)
        by_udp = any(way is not RELAY for way in self._flow.route) or self._is_udp_avoided()
        may_try = by_udp and self._peer.relay_carries and record_size.is_settled(now)
        if self._peer.throughput.note_tally(tally, now, may_try=may_try):
            self.update()
            self._peer.notifier.notify()

    def path_status(self) -> PathStatus:
        """The path that carries now."""
        path = self._paths.path_in_use(self._flow.route, trio.current_time())
        return PathStatus(
            path.way.kind, path.way.remote, path.rtt, self._mtu, link_mtu_of(path.way, path.datagram_size)
        )

    def _size_on(self, way: Way) -> int:
        path = self._paths.at(way)
        return BASE_SIZE if path is None else path.datagram_size

    def _ways(self) -> tuple[Way, ...]:
        chosen, relay = self._paths.chosen, self._peer.relay_ways
        if self._is_udp_avoided():
            return (RELAY,)
        if chosen is None:
            return relay
        if self._paths.is_doubted or self._peer.state != "connected":
            return (chosen.way, *relay)
        return (chosen.way,)

    def _is_udp_avoided(self) -> bool:
        return self._peer.relay_carries and self._peer.throughput.is_udp_avoided(trio.current_time())
