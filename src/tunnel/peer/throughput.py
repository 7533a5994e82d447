"""Whether UDP carries far less than the link to the server does, and what follows. Pure: time comes in as a number.

Some networks let UDP through and slow it down: probes are answered, so the path is proved, and data crawls. Each side
counts what it gets by UDP and by the link, and tells the other in a `Tally`, once a second while much comes in. The
side that sends compares:

    udp          slow, and some is lost for some seconds              -> trying_link, at most so often
    trying_link  a few seconds over the link alone: at least twice    -> link; else udp, and no trial for a while
    link         UDP is not used; the peer is told, and does the same -> trying_udp, after a wait that grows
    trying_udp   nearly as much as over the link, or little is sent   -> udp; else link
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

from tunnel.dataplane.flow import Received
from tunnel.machines.stalls import Stalls
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.timings import Timings, rung
from tunnel.wire.frames import BASE_SIZE
from tunnel.wire.session_packets import Tally

LOSS = 0.002
"""The share of what is sent by UDP that must be lost before the link is tried. A stream that is held down to a megabit
loses half a percent of its packets at 80 ms, since it sends only as much as gets through."""
FAR_MORE = 2.0
"""The link must carry this many times as much to be used instead."""
NEARLY = 0.8
"""UDP must carry this share of what the link does to be used again; with a lower one it would flap."""
LEAST = 25_000.0
"""Bytes a second: no network slows down a side that sends less than that."""
FAST = 6_250_000.0
"""Bytes a second: 50 Mbit/s by UDP in either direction are lossy, not held down. A trial would cost a busy pair four
seconds, and the server its traffic."""
WINDOW = 4.0
"""Seconds that are compared, and that a trial lasts."""
SETTLING = 1.0
"""Seconds at the beginning of a trial that do not count: what was under way arrives, and streams gain speed."""
PEER_SAYS = 15.0
"""Seconds for which the peer's word holds that UDP is slow."""


class Phase(Enum):
    """What is sent how."""

    UDP = "udp"
    TRYING_LINK = "trying_link"
    LINK = "link"
    TRYING_UDP = "trying_udp"


class _Sample(NamedTuple):
    """What the peer had got at a moment."""

    at: float
    tally: Tally


class Throughput:
    """One for each peer connection: counts, and the phase that follows from them."""

    def __init__(self, timings: Timings, stalls: Stalls, received: Received) -> None:
        self._timings = timings
        self._stalls = stalls
        self.phase = Phase.UDP
        self._received = received
        self._told = self._told_udp = 0
        self._samples: deque[_Sample] = deque()
        self._since = self._not_before = float("-inf")
        self._base = 0.0
        self._trials = self._stays = 0
        self._evidence = ""
        self._peer_avoids_until = float("-inf")
        self._said, self._said_at = False, float("-inf")

    def is_tally_due(self, now: float) -> bool:
        """Data came in, and it is time to look: whether the peer is to be told what it was."""
        received = self._received
        received.due = now + self._timings.tally
        got = received.by_udp + received.by_link + received.broken * BASE_SIZE
        is_much, self._told = got - self._told >= LEAST * self._timings.tally, got
        if received.by_udp - self._told_udp >= FAST * self._timings.tally:
            self._put_trial_off(now)
        self._told_udp = received.by_udp
        return is_much or self.phase is not Phase.UDP or now < self._peer_avoids_until

    def tally(self) -> Tally:
        """What to tell the peer."""
        got = self._received
        got.leave_out_overflows()
        return Tally(got.by_udp, got.by_link, got.counted, got.came, self._avoids)

    def note_tally(self, tally: Tally, now: float, *, may_try: bool) -> bool:
        """The peer says what it got. `may_try`: there are both, UDP and the link. True: the route may be another."""
        before = self.phase, self.is_udp_avoided(now)
        self._peer_avoids_until = now + PEER_SAYS if tally.avoids_udp else float("-inf")
        if self._take_sample(tally, now):
            self._judge(now, may_try)
        return before != (self.phase, self.is_udp_avoided(now))

    def has_news(self, now: float) -> bool:
        """Whether the peer must hear, again, that UDP is avoided, or that it no longer is. True counts as told."""
        if self._avoids == self._said and (not self._avoids or now < self._said_at + PEER_SAYS / 3):
            return False
        self._said, self._said_at = self._avoids, now
        return True

    def is_udp_avoided(self, now: float) -> bool:
        """Whether the link alone should carry: we found it far better, or try it, or the peer has found it so."""
        return self._avoids or now < self._peer_avoids_until

    def reason(self, now: float) -> Reason | None:
        """Why UDP is not used although it works; None while it is."""
        if self.phase in (Phase.LINK, Phase.TRYING_UDP):
            return Reason(ReasonCode.UDP_THROTTLED, self._evidence)
        if self.phase is Phase.UDP and now < self._peer_avoids_until:
            return Reason(ReasonCode.UDP_THROTTLED, "the other side found that UDP carries far less to here")
        return None

    def forget(self) -> None:
        """The network or the path is another one: nothing is known of it."""
        self.phase = Phase.UDP
        self._samples.clear()
        self._trials = self._stays = 0
        self._not_before = self._peer_avoids_until = float("-inf")

    @property
    def _avoids(self) -> bool:
        return self.phase in (Phase.TRYING_LINK, Phase.LINK)

    def _take_sample(self, tally: Tally, now: float) -> bool:
        """Whether it is worth a look: a peer may say as many tallies as it likes, and whatever it likes in them."""
        if self._samples and not _may_follow(tally, self._samples[-1].tally):
            self._samples.clear()  # the peer has begun anew
        if self._samples and self._stalls.lost(self._samples[-1].at):
            self._samples.clear()  # we sent nothing for a while: that measures no way
            self._since = now
        if self._samples and now - self._samples[-1].at < self._timings.tally / 2:
            return False
        self._samples.append(_Sample(now, tally))
        while now - self._samples[0].at > WINDOW + self._timings.tally:
            self._samples.popleft()
        return True

    def _judge(self, now: float, may_try: bool) -> None:
        first, last = self._samples[0], self._samples[-1]
        seconds = last.at - first.at
        if seconds < WINDOW - self._timings.tally:
            return
        udp = (last.tally.udp - first.tally.udp) / seconds
        link = (last.tally.link - first.tally.link) / seconds
        match self.phase:
            case Phase.UDP if udp >= FAST:
                self._put_trial_off(now)
            case Phase.UDP:
                if may_try and now >= self._not_before and udp + link >= LEAST and self._is_lossy():
                    self._enter(Phase.TRYING_LINK, now)
            case Phase.TRYING_LINK if now - self._since >= WINDOW:
                if link >= FAR_MORE * self._base and link >= LEAST:
                    self._evidence += f"; the link to the server carried {_megabits(link)}"
                    self._avoid(now)
                else:
                    self._not_before = now + rung(self._timings.link_trials, self._trials)
                    self._trials += 1
                    self._enter(Phase.UDP, now)
            case Phase.LINK if now >= self._not_before:
                self._base = link
                self._enter(Phase.TRYING_UDP, now)
            case Phase.TRYING_UDP if now - self._since >= WINDOW:
                if udp >= NEARLY * self._base or udp + link < LEAST:
                    self._not_before = now
                    self._enter(Phase.UDP, now)
                else:
                    self._evidence = f"UDP carried {_megabits(udp)}; the link to the server {_megabits(self._base)}"
                    self._avoid(now)
            case _:
                pass

    def _put_trial_off(self, now: float) -> None:
        """UDP is fast: if it becomes slow, that is looked into after a while. A stream may just have begun anew."""
        if self.phase is Phase.UDP:
            self._not_before = max(self._not_before, now + rung(self._timings.link_trials, 0))

    def _is_lossy(self) -> bool:
        """Whether in both halves of what was seen: a moment's loss is no throttle. The later one is what counts."""
        begin, middle, end = self._samples[0], self._samples[len(self._samples) // 2], self._samples[-1]
        for earlier, later in ((begin, middle), (middle, end)):
            counted, came = later.tally.counted - earlier.tally.counted, later.tally.came - earlier.tally.came
            if came >= (1.0 - LOSS) * counted:
                return False
            self._base = (later.tally.udp - earlier.tally.udp) / (later.at - earlier.at)
            self._evidence = f"UDP carried {_megabits(self._base)} and lost {1.0 - came / counted:.1%}"
        return True

    def _avoid(self, now: float) -> None:
        self._not_before = now + rung(self._timings.udp_trials, self._stays)
        self._stays += 1
        self._enter(Phase.LINK, now)

    def _enter(self, phase: Phase, now: float) -> None:
        """What is measured from now on is another way: the samples begin anew, once it has settled."""
        self.phase, self._since = phase, now
        last = self._samples[-1]
        self._samples.clear()
        if phase in (Phase.UDP, Phase.LINK):
            self._samples.append(last)


def _may_follow(later: Tally, earlier: Tally) -> bool:
    """Whether no count is lower than it was."""
    return (
        later.udp >= earlier.udp
        and later.link >= earlier.link
        and later.counted >= earlier.counted
        and later.came >= earlier.came
    )


def _megabits(rate: float) -> str:
    return f"{rate * 8 / 1e6:.1f} Mbit/s"
