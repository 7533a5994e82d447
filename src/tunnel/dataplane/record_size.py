"""How large a record to one peer may be, by the loss of the path. Pure: time is passed in.

A lost fragment loses its record, so a record may have only as many fragments as the loss allows: of the records a share
is lost at most, or a record has one fragment (docs/design/records.md). A superpacket of TCP may lose more than one of
UDP or packets that only share a record: its segments follow one another, so TCP sees as many moments of loss as it
would without us. The peer tells what came. A higher loss counts at once, a lower one by a factor of FORGETTING a
second.
"""

from __future__ import annotations

from tunnel.network.datagrams import MAX_SEGMENTS

LOST_SUPERPACKETS, LOST_BUNDLES = 0.04, 0.01
"""The shares of records that may be lost before they are made smaller."""
FORGETTING = 0.32
"""The share of a known loss that is left after a second without any: after 5 % whole superpackets go again in 5 s."""
LEAST_COUNTED = 32
"""Datagrams that a measurement covers at least."""
SETTLING = 4.0
"""Seconds after which streams have found the speed that a loss leaves them: until then they recover from records that
were too large for it.
"""
NO_LOSS = 1e-5
LEAST_LOST = 3
"""Lost datagrams below which a measurement says nothing: they may be one accident."""


class RecordSize:
    """One for each flow. `fragments` is what the data plane reads."""

    __slots__ = ("_at", "_came", "_counted", "_is_paused", "_loss", "_lossy_since", "bundled", "fragments")

    def __init__(self) -> None:
        self.fragments = MAX_SEGMENTS
        """The most fragments that a record with a superpacket of TCP may have."""
        self.bundled = MAX_SEGMENTS
        """The same of small packets together, and of a superpacket of UDP."""
        self._loss = 0.0
        self._lossy_since = float("-inf")
        self._is_paused = False
        self._at = float("-inf")
        self._counted = self._came = 0

    @property
    def loss(self) -> float:
        """The share of datagrams that are lost, as far as it is remembered."""
        return self._loss

    def note(self, counted: int, came: int, now: float) -> None:
        """The peer says: of the datagrams that we sent it knows of `counted`, and `came` arrived. Both only grow."""
        sent, arrived = counted - self._counted, came - self._came
        if sent < 0 or arrived < 0:
            self._counted, self._came = counted, came  # the peer has begun anew
            return
        if sent < LEAST_COUNTED and now - self._at < 1.0:
            return
        self._counted, self._came = counted, came
        loss = (sent - arrived) / sent if sent - arrived >= LEAST_LOST else 0.0
        remembered = self._loss
        if remembered and not self._is_paused:  # what still comes then is too little to forget it for
            remembered *= FORGETTING ** min(now - self._at, 60.0)
        self._at = now
        if loss and self._loss <= NO_LOSS:
            self._lossy_since = now
        self._loss = max(loss, remembered)
        self._fit()

    def is_settled(self, now: float) -> bool:
        """Whether what the path carries is no longer marked by records that were too large when its loss began."""
        return now - self._lossy_since >= SETTLING

    def pause(self, is_paused: bool) -> None:
        """While the link to the server alone carries, records are whole, and the loss of the path is kept in mind."""
        self._is_paused = is_paused
        self._fit()

    def forget(self) -> None:
        """The path is another one."""
        self._loss = 0.0
        self._fit()

    def _fit(self) -> None:
        loss = 0.0 if self._is_paused else self._loss
        self.fragments, self.bundled = _most(LOST_SUPERPACKETS, loss), _most(LOST_BUNDLES, loss)


def _most(share: float, loss: float) -> int:
    return max(1, int(min(MAX_SEGMENTS, share / loss))) if loss else MAX_SEGMENTS
