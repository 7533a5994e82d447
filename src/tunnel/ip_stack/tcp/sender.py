"""The sending half of a connection: what leaves now, as far as the windows and pacing allow."""

from __future__ import annotations

from math import inf

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.flight import Acknowledgment, Flight
from tunnel.ip_stack.tcp.loss_recovery import LossRecovery
from tunnel.ip_stack.tcp.segments import OutgoingSegment

_MOST_SEGMENTS = 128
"""Segments of one superpacket, as the data plane takes them (dataplane/superpacket.py)."""


class Sender:
    """News goes to `recovery` and `flight`; `take` sends what follows from it."""

    __slots__ = ("_config", "_idle_since", "_paced_until", "flight", "recovery")

    def __init__(self, config: TcpConfig, mss: int, initial: int) -> None:
        """`mss`: bytes of payload in one segment; `initial`: our initial sequence number."""
        self._config = config
        self.flight = Flight(mss, initial)
        self.recovery = LossRecovery(config, self.flight)
        self._paced_until = inf
        self._idle_since = inf

    @property
    def deadline(self) -> float:
        """When `recovery.timeout` or `take` has something to do."""
        return min(self.recovery.timers.nearest, self._paced_until)

    @property
    def room(self) -> int:
        """Bytes that may be added to the buffer: up to twice the congestion window, within the settings' bounds."""
        if self.flight.has_fin:
            return 0
        config, buffer = self._config, self.flight.buffer
        most = min(config.send_buffer, max(config.least_buffer, 2 * int(self.recovery.congestion.cubic.window)))
        return max(0, most - (buffer.end - buffer.start))

    def has_work(self) -> bool:
        """Whether `take` may have something to send. If not, nothing waits for pacing either."""
        flight, recovery = self.flight, self.recovery
        if flight.nxt < flight.end or flight.board.lost or recovery.is_probe_due or recovery.is_window_probe_due:
            return True
        self._paced_until = inf
        return False

    def stop(self) -> None:
        """The connection is over: nothing is sent any more."""
        self.recovery.stop()
        self._paced_until = inf
        self.flight.buffer.clear()
        self.flight.board.clear()

    def take(self, now: float, budget: int, acknowledgment: Acknowledgment, out: list[OutgoingSegment]) -> None:
        """Append what is to be sent now, up to `budget` bytes of payload, to `out`."""
        self._paced_until = inf
        flight, recovery = self.flight, self.recovery
        if recovery.is_window_probe_due:
            recovery.is_window_probe_due = False
            size = min(flight.edge - flight.nxt, flight.end - flight.nxt, flight.mss)
            if size > 0:
                self._send_new(size, now, acknowledgment, out)
            else:
                out.append(flight.window_probe(acknowledgment))
        if recovery.is_probe_due:
            recovery.is_probe_due = False
            self._send_probe(now, acknowledgment, out)
        if flight.nxt < flight.end or flight.board.lost:
            self._send(now, budget, acknowledgment, out)

    def _send(self, now: float, budget: int, acknowledgment: Acknowledgment, out: list[OutgoingSegment]) -> None:
        flight, recovery = self.flight, self.recovery
        board, congestion, mss = flight.board, recovery.congestion, flight.mss
        pacer = congestion.pacer
        if flight.una == flight.nxt and self._idle_since < now:
            congestion.cubic.idle(now - self._idle_since, recovery.rtt.base_rto)
            self._idle_since = now
        most = min(self._config.superpacket // mss, _MOST_SEGMENTS) * mss or mss
        while flight.nxt < flight.end or board.lost:
            if budget <= 0:
                self._paced_until = now
                return
            if pacer.next_at > now and not congestion.is_forced:
                self._paced_until = pacer.next_at
                return
            room = congestion.room(flight.size)
            size = min(pacer.quantum(mss, most), max(budget // mss * mss, mss))
            if board.lost:
                if room < mss:
                    if not congestion.is_forced:
                        return
                    room = mss
                found = board.first_lost(min(size, room // mss * mss))
                assert found is not None
                out.append(flight.segment(found.start, found.end, acknowledgment))
                recovery.resent(found, now)
                size = found.end - found.start
            else:
                size = self._new_size(size, room, now)
                if size <= 0:
                    return
                self._send_new(size, now, acknowledgment, out)
            congestion.sent(size, now)
            budget -= size

    def _send_new(self, size: int, now: float, acknowledgment: Acknowledgment, out: list[OutgoingSegment]) -> None:
        flight = self.flight
        start = flight.nxt
        flight.nxt = start + size
        flight.board.add(start, start + size, now)
        out.append(flight.segment(start, start + size, acknowledgment))
        self._idle_since = now
        self.recovery.sent(now)

    def _new_size(self, most: int, room: int, now: float) -> int:
        """How much new data may leave now (RFC 9293 sections 3.7.4 and 3.8.6.2.1). FIN counts as a byte of it."""
        flight, recovery, mss = self.flight, self.recovery, self.flight.mss
        waiting, window = flight.end - flight.nxt, flight.edge - flight.nxt
        size = min(waiting, window, most, room)
        if room < waiting and room < window:
            recovery.limited_until = flight.nxt + max(size, 1)
        if size == waiting:
            is_short = size % mss and not flight.has_fin
            if is_short and self._config.is_nagling and flight.una < flight.nxt:
                size -= size % mss
            return size
        if size >= mss:
            return size - size % mss
        if window >= mss or window > waiting:
            return 0  # the congestion window keeps it back, until something is acknowledged
        if 0 < window <= room and 2 * window >= flight.most_window:
            return window
        timers = recovery.timers
        if flight.una == flight.nxt and timers.persist_at == inf:
            timers.persist_at, timers.since = now + recovery.rtt.rto, now
        return 0

    def _send_probe(self, now: float, acknowledgment: Acknowledgment, out: list[OutgoingSegment]) -> None:
        """One segment beyond the congestion window, new if possible, so that the peer acknowledges (RFC 8985 7.3)."""
        flight = self.flight
        if flight.una == flight.nxt:
            return
        size = min(flight.end - flight.nxt, flight.edge - flight.nxt, flight.mss)
        if size > 0:
            self._send_new(size, now, acknowledgment, out)
            self.recovery.probed(None, now)
            return
        found = flight.board.last(flight.mss)
        if found is not None:
            out.append(flight.segment(found.start, found.end, acknowledgment))
            self.recovery.probed(found, now)
