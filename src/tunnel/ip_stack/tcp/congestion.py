"""How much may be in flight: CUBIC's window, and proportional rate reduction while losses are repaired (RFC 6937)."""

from __future__ import annotations

from tunnel.ip_stack.tcp.cubic import Cubic
from tunnel.ip_stack.tcp.hystart import HyStart
from tunnel.ip_stack.tcp.pacing import Pacer


class Congestion:
    """An episode begins with a loss and ends when all that was sent before it has arrived.

    `enter_recovery` or `enter_loss` begin one; `acknowledged` for each acknowledgment; `room` is what may be sent.
    """

    __slots__ = (
        "_allowed",
        "_delivered",
        "_flight",
        "_hystart",
        "_mss",
        "_sent",
        "cubic",
        "is_forced",
        "is_lossy",
        "pacer",
        "recovery_end",
    )

    def __init__(self, mss: int) -> None:
        self._mss = mss
        self.cubic = Cubic(mss)
        self.pacer = Pacer()
        self._hystart = HyStart()
        self.recovery_end: int | None = None
        """The end of what was sent when the episode began; None: there is none."""
        self.is_lossy = False
        """Whether the episode began with a retransmission timeout."""
        self.is_forced = False
        """One segment may be sent again whatever is in flight."""
        self._allowed = 0
        self._delivered = self._sent = self._flight = 0

    @property
    def window(self) -> float:
        """Bytes that may be in flight."""
        return self._allowed if self.recovery_end is not None and not self.is_lossy else self.cubic.window

    def change_mss(self, mss: int) -> None:
        """The path takes other segments."""
        self._mss = mss
        self.cubic.change_mss(mss)

    def enter_recovery(self, nxt: int, outstanding: int, in_flight: int) -> None:
        """Something is lost and acknowledgments still come. Does nothing within an episode.

        `outstanding`: bytes that were sent and are not acknowledged; `in_flight`: without what is sacked or lost.
        """
        if self.recovery_end is None:
            self.cubic.reduce()
            self.recovery_end, self.is_lossy, self.is_forced = nxt, False, True
            self._delivered = self._sent = 0
            self._flight = max(outstanding, self._mss)
            self._allowed = in_flight

    def enter_loss(self, nxt: int) -> None:
        """The retransmission timeout ended. The threshold falls once an episode, the window to one segment always."""
        if self.recovery_end is None:
            self.cubic.reduce()
        self.cubic.collapse()
        self.recovery_end, self.is_lossy, self.is_forced = nxt, True, True
        self.pacer.next_at = 0.0

    def reduce_once(self) -> None:
        """Something was lost, and is repaired already."""
        if self.recovery_end is None:
            self.cubic.reduce()
            self.cubic.window = self.cubic.threshold

    def undo(self) -> None:
        """The episode was for nothing: what seemed lost had only been late (RFC 3522, RFC 9438 section 4.9)."""
        if self.recovery_end is not None:
            self.recovery_end = None
            self.cubic.undo()

    def acknowledged(
        self,
        delivered: int,
        una: int,
        nxt: int,
        in_flight: int,
        srtt: float,
        rtt: float,
        now: float,
        *,
        is_limited: bool,
        is_clean: bool,
    ) -> bool:
        """So much arrived anew. `is_clean`: `una` rose, and nothing was found lost. Returns whether an episode ended.

        `rtt`: 0 where none was measured. `is_limited`: the window was what kept data back.
        """
        ended = self.recovery_end is not None and una >= self.recovery_end
        cubic = self.cubic
        if ended:
            self.recovery_end, self.is_forced = None, False
            if not self.is_lossy:
                cubic.window = cubic.threshold
        elif self.recovery_end is not None and not self.is_lossy:
            self._reduce_in_proportion(delivered, in_flight, is_clean=is_clean)
        elif is_limited and is_clean:
            if cubic.is_slow_starting:
                delivered = self._slow_start(delivered, una, nxt, rtt)
            cubic.grow(delivered, srtt, now)
        self.pacer.follow(self.window, srtt, is_slow_starting=cubic.is_slow_starting)
        return ended

    def room(self, in_flight: int) -> int:
        """Bytes that may be sent now."""
        return int(self.window) - in_flight

    def sent(self, size: int, now: float) -> None:
        """So many bytes left."""
        self.pacer.sent(size, now)
        self._sent += size
        self.is_forced = False

    def _slow_start(self, delivered: int, una: int, nxt: int, rtt: float) -> int:
        if rtt and self.recovery_end is None:
            self._hystart.see(rtt, una, nxt)
            if self._hystart.is_over:
                self.cubic.threshold = self.cubic.window
        return -(-delivered // self._hystart.divisor)

    def _reduce_in_proportion(self, delivered: int, in_flight: int, *, is_clean: bool) -> None:
        threshold = int(self.cubic.threshold)
        self._delivered += delivered
        if in_flight > threshold:
            count = -(-self._delivered * threshold // self._flight) - self._sent
        else:
            limit = max(self._delivered - self._sent, delivered)
            count = min(threshold - in_flight, limit + self._mss if is_clean else limit)
        self._allowed = in_flight + max(count, 0)
