"""What acknowledgments and silence mean for what is in flight: round trips, losses, and the congestion window."""

from __future__ import annotations

from math import inf

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.congestion import Congestion
from tunnel.ip_stack.tcp.flight import Flight
from tunnel.ip_stack.tcp.loss_timers import LossTimers
from tunnel.ip_stack.tcp.rack import Rack
from tunnel.ip_stack.tcp.rtt import RttEstimator
from tunnel.ip_stack.tcp.scoreboard import SentRange

_DUPLICATES = 3
_CLOCK = 0.001
"""Seconds: the granularity of timestamps."""


class LossRecovery:
    """Told of acknowledgments, ends of timers, and all that is sent; marks losses in the flight's scoreboard."""

    __slots__ = (
        "_config",
        "_duplicates",
        "_flight",
        "_is_probe_resent",
        "_probe_end",
        "_rack",
        "_resent_at",
        "congestion",
        "has_sack",
        "is_given_up",
        "is_probe_due",
        "is_window_probe_due",
        "limited_until",
        "rtt",
        "timers",
    )

    def __init__(self, config: TcpConfig, flight: Flight) -> None:
        self._config, self._flight = config, flight
        self.rtt = RttEstimator(config.least_rto, config.max_rto)
        self.congestion = Congestion(flight.mss)
        self.timers = LossTimers()
        self.has_sack = False
        self.is_given_up = False
        """Whether the peer has acknowledged nothing for `user_timeout`."""
        self.is_probe_due = False
        """Whether a tail loss probe is to be sent."""
        self.is_window_probe_due = False
        self.limited_until = 0
        """Before this offset the congestion window was what kept data back."""
        self._rack = Rack()
        self._duplicates = 0
        self._probe_end: int | None = None
        self._is_probe_resent = False
        self._resent_at: float | None = None
        """When something was first sent again in this episode."""

    def acknowledge(
        self,
        number: int,
        blocks: list[tuple[int, int]],
        echo_at: float | None,
        now: float,
        *,
        is_duplicate: bool,
        has_dsack: bool,
    ) -> None:
        """An acceptable acknowledgment arrived: `una` <= `number` <= `nxt`.

        `blocks`: SACK; `echo_at`: when the echoed timestamp was sent. `is_duplicate`: it says nothing new and carries
        nothing (RFC 5681 section 2).
        """
        flight, board, congestion, rtt = self._flight, self._flight.board, self.congestion, self.rtt
        advanced = number - flight.una
        is_limited = flight.una < self.limited_until or 2 * flight.size >= congestion.cubic.window
        arrived = board.acknowledge(number) if advanced else []
        if advanced:
            flight.una = number
            flight.buffer.release(min(number, flight.buffer.end))
            self._duplicates = 0
            rtt.reset_backoff()
        if blocks:
            arrived += board.sack(blocks)
        delivered, newest, is_resent = 0, -inf, False
        for found in arrived:
            delivered += found.end - found.start
            if found.is_retransmitted:
                is_resent = True
            elif found.sent_at > newest:
                newest = found.sent_at
        measured = 0.0
        if newest > -inf:
            measured = max(now - newest, 1e-6)
        elif advanced and arrived and echo_at is not None:
            measured = max(now - echo_at, 1e-6)
        if measured:
            rtt.sample(measured, now)
        if has_dsack:
            self._rack.duplicate_told(flight.una, flight.nxt)
        if advanced and self._resent_at is not None and echo_at is not None:
            self._undo_if_spurious(echo_at)
        self._rack.arrived(arrived, rtt, echo_at, now)
        is_lost = False
        if not self.has_sack:
            is_lost = self._count_duplicates(advanced=advanced, is_duplicate=is_duplicate)
            delivered += flight.mss * is_duplicate
        elif is_resent or board.sacked or congestion.recovery_end is not None:
            is_lost = self._detect(now)
        if self._probe_end is not None and number >= self._probe_end:
            self._judge_probe(number, is_duplicate=is_duplicate and not blocks, has_dsack=has_dsack)
        ended = congestion.acknowledged(
            delivered,
            number,
            flight.nxt,
            flight.size,
            rtt.srtt,
            measured,
            now,
            is_limited=is_limited,
            is_clean=advanced > 0 and not is_lost,
        )
        if ended:
            self._rack.recovered()
            self._resent_at = None
        if flight.una == flight.nxt:
            self.timers.stop()
        else:
            if advanced:
                self.timers.progressed(rtt, now)
            self._run_timers(now)

    def sent(self, now: float) -> None:
        """New data was sent."""
        self._run_timers(now)

    def resent(self, found: SentRange, now: float) -> None:
        """A range was sent again."""
        self._flight.board.retransmit(found, now)
        if self._resent_at is None and self.congestion.recovery_end is not None:
            self._resent_at = now
        self._run_timers(now)

    def probed(self, found: SentRange | None, now: float) -> None:
        """A tail loss probe was sent: this range again, or new data (RFC 8985 section 7.3)."""
        if found is not None:
            self._flight.board.retransmit(found, now)
        self._probe_end, self._is_probe_resent = self._flight.nxt, found is not None
        self.timers.probe_at = inf

    def timeout(self, now: float) -> None:
        """Do what is due; the segments that follow are sent later."""
        timers = self.timers
        if timers.reordering_at <= now:
            timers.reordering_at = inf
            self._detect(now)
        if timers.probe_at <= now:
            timers.probe_at = inf
            self.is_probe_due = True
            timers.retransmit_at = now + self.rtt.rto
        if timers.retransmit_at <= now:
            self._retransmit_or_give_up(now)
        if timers.persist_at <= now:
            is_late = now - timers.since >= self._config.user_timeout
            self.is_given_up = is_late and timers.is_window_probed
            timers.is_window_probed = True
            self.is_window_probe_due = True
            self.rtt.back_off()
            timers.persist_at = now + self.rtt.rto

    def begin(self, mss: int) -> None:
        """The handshake is done: segments have this size. Nothing was sent yet."""
        self._flight.mss = mss
        self.congestion = Congestion(mss)

    def change_mss(self, mss: int) -> None:
        """The path takes segments of this size. Where that is less, what is in flight is sent again, at no penalty."""
        flight = self._flight
        is_less = mss < flight.mss
        flight.mss = mss
        self.congestion.change_mss(mss)
        if is_less and flight.nxt > flight.una:
            for found in flight.board.unsacked():
                if found.end - found.start > mss:
                    flight.board.mark_lost(found)
            self.congestion.is_forced = True

    def stop(self) -> None:
        """The connection is over."""
        self.timers.stop()
        self.is_probe_due = self.is_window_probe_due = False

    def _run_timers(self, now: float) -> None:
        flight = self._flight
        is_probed = (
            self.has_sack
            and self._probe_end is None
            and self.congestion.recovery_end is None
            and not flight.board.sacked
        )
        self.timers.run(self.rtt, now, flight.nxt - flight.una, flight.mss, is_probed=is_probed)

    def _detect(self, now: float) -> bool:
        flight = self._flight
        is_recovering = self.congestion.recovery_end is not None
        is_lost, wait = self._rack.detect(flight.board, self.rtt, flight.mss, now, is_recovering=is_recovering)
        self.timers.reordering_at = now + wait if wait else inf
        if is_lost:
            self._enter_recovery()
        return is_lost

    def _enter_recovery(self) -> None:
        flight = self._flight
        self._probe_end = None
        self.timers.probe_at = inf
        self.congestion.enter_recovery(flight.nxt, flight.nxt - flight.una, flight.size)

    def _count_duplicates(self, *, advanced: int, is_duplicate: bool) -> bool:
        """For a peer without SACK: NewReno (RFC 6582)."""
        flight = self._flight
        recovery_end = self.congestion.recovery_end
        self._duplicates += is_duplicate
        is_partial = advanced > 0 and recovery_end is not None and flight.una < recovery_end
        if (not is_partial and self._duplicates != _DUPLICATES) or (is_duplicate and recovery_end is not None):
            return False
        first = flight.board.first(flight.mss)
        if first is None or first.is_lost:
            return False
        flight.board.mark_lost(first)
        self._enter_recovery()
        self.congestion.is_forced = True
        return True

    def _undo_if_spurious(self, echo_at: float) -> None:
        """Eifel detection (RFC 3522): the acknowledgment answers what was sent before anything was sent again."""
        assert self._resent_at is not None
        if self.congestion.recovery_end is not None and echo_at < self._resent_at - _CLOCK:
            self._flight.board.forgive()
            self.congestion.undo()
            self.timers.reordering_at = inf
        self._resent_at = None if self.congestion.recovery_end is None else self._resent_at

    def _judge_probe(self, number: int, *, is_duplicate: bool, has_dsack: bool) -> None:
        """Whether a tail loss probe repaired a loss, of which nothing else tells (RFC 8985 section 7.4)."""
        assert self._probe_end is not None
        if not self._is_probe_resent or has_dsack or is_duplicate:
            self._probe_end = None
        elif number > self._probe_end:
            self._probe_end = None
            self.congestion.reduce_once()

    def _retransmit_or_give_up(self, now: float) -> None:
        flight, timers = self._flight, self.timers
        if flight.una == flight.nxt:
            timers.retransmit_at = inf
            return
        if now - timers.since >= self._config.user_timeout:
            self.is_given_up = True
            return
        self.rtt.back_off()
        if flight.board.ranges[0].is_sacked:
            flight.board.forget_sacks()
        self._rack.mark_on_timeout(flight.board, self.rtt, now)
        self.congestion.enter_loss(flight.nxt)
        self._probe_end = None
        timers.probe_at = timers.reordering_at = inf
        timers.retransmit_at = min(now + self.rtt.rto, timers.since + self._config.user_timeout)
