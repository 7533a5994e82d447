"""What is sent and not acknowledged: by ranges, each sent as one segment or superpacket (RFC 6675, RFC 8985).

A superpacket of forty segments is one range, until a SACK block covers a part of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

MOST_RANGES = 2048
"""With so many, none is split any more: only blocks that cover one whole count. A hostile peer names single bytes."""


class SentRange:
    """Offsets from `start` to `end`, all sent at one time."""

    __slots__ = ("end", "is_lost", "is_retransmitted", "is_sacked", "sent_at", "start")

    def __init__(self, start: int, end: int, sent_at: float) -> None:
        self.start, self.end, self.sent_at = start, end, sent_at
        self.is_sacked = False
        self.is_lost = False
        """Lost, and not sent again since."""
        self.is_retransmitted = False

    def cut(self, at: int) -> SentRange:
        """Keep what is before `at`; the rest is returned."""
        rest = SentRange(at, self.end, self.sent_at)
        rest.is_sacked, rest.is_lost, rest.is_retransmitted = self.is_sacked, self.is_lost, self.is_retransmitted
        self.end = at
        return rest


class Scoreboard:
    """All ranges in order, without gaps between them. Sizes are in sequence numbers."""

    __slots__ = ("lost", "ranges", "sacked")

    def __init__(self) -> None:
        self.ranges: list[SentRange] = []
        self.sacked = 0
        self.lost = 0
        """Of ranges that are lost: neither in flight nor sacked."""

    def add(self, start: int, end: int, now: float) -> None:
        """New data is sent."""
        self.ranges.append(SentRange(start, end, now))

    def acknowledge(self, offset: int) -> list[SentRange]:
        """All before the offset arrived. Returns what was not sacked before; a range may be given in part."""
        ranges = self.ranges
        arrived: list[SentRange] = []
        count = 0
        for found in ranges:
            if found.end > offset:
                if found.start < offset:
                    rest = found.cut(offset)
                    ranges[count] = rest
                    self._forget(found, arrived)
                break
            self._forget(found, arrived)
            count += 1
        if count:
            del ranges[:count]
        return arrived

    def sack(self, blocks: Sequence[tuple[int, int]]) -> list[SentRange]:
        """The blocks arrived. Returns what was not sacked before. Edges outside of all ranges are cut off."""
        arrived: list[SentRange] = []
        ranges = self.ranges
        for start, end in blocks:
            if not ranges or end <= start or end <= ranges[0].start or start >= ranges[-1].end:
                continue
            place = max(0, bisect_right(ranges, start, key=_start_of) - 1)
            while place < len(ranges) and ranges[place].start < end:
                found = ranges[place]
                if not found.is_sacked and (len(ranges) < MOST_RANGES or start <= found.start < found.end <= end):
                    if found.start < start:
                        self._split(place, start)
                        place += 1
                        found = ranges[place]
                    if found.end > end:
                        self._split(place, end)
                    self._mark_sacked(found, arrived)
                place += 1
            self._join_sacked(start, end)
        return arrived

    def mark_lost(self, found: SentRange) -> None:
        """It has to be sent again."""
        if not found.is_lost and not found.is_sacked:
            found.is_lost = True
            self.lost += found.end - found.start

    def first_lost(self, most: int) -> SentRange | None:
        """The first lost range, cut to `most`; None if nothing is lost."""
        if not self.lost:
            return None
        place = next(place for place, found in enumerate(self.ranges) if found.is_lost)
        if self.ranges[place].end - self.ranges[place].start > most:
            self._split(place, self.ranges[place].start + most)
        return self.ranges[place]

    def last(self, most: int) -> SentRange | None:
        """The last `most` of what is sent, if the peer may lack it."""
        if not self.ranges or self.ranges[-1].is_sacked:
            return None
        if self.ranges[-1].end - self.ranges[-1].start > most:
            self._split(len(self.ranges) - 1, self.ranges[-1].end - most)
        return self.ranges[-1]

    def first(self, most: int) -> SentRange | None:
        """The first `most` of what is sent."""
        if self.ranges and self.ranges[0].end - self.ranges[0].start > most:
            self._split(0, self.ranges[0].start + most)
        return self.ranges[0] if self.ranges else None

    def retransmit(self, found: SentRange, now: float) -> None:
        """A range is sent again."""
        if found.is_lost:
            found.is_lost = False
            self.lost -= found.end - found.start
        found.is_retransmitted = True
        found.sent_at = now

    def unsacked(self) -> Iterator[SentRange]:
        """Every range that has not arrived as far as we know, in order."""
        return (found for found in self.ranges if not found.is_sacked)

    def forget_sacks(self) -> None:
        """The peer may have thrown away what it named in SACK blocks (RFC 2018 section 8)."""
        for found in self.ranges:
            found.is_sacked = False
        self.sacked = 0

    def forgive(self) -> None:
        """Nothing is lost after all."""
        for found in self.ranges:
            found.is_lost = False
        self.lost = 0

    def clear(self) -> None:
        """Forget everything."""
        self.ranges.clear()
        self.sacked = self.lost = 0

    def _forget(self, found: SentRange, arrived: list[SentRange]) -> None:
        size = found.end - found.start
        if found.is_sacked:
            self.sacked -= size
            return
        if found.is_lost:
            self.lost -= size
        arrived.append(found)

    def _mark_sacked(self, found: SentRange, arrived: list[SentRange]) -> None:
        self._forget(found, arrived)
        found.is_lost = False
        found.is_sacked = True
        self.sacked += found.end - found.start

    def _split(self, place: int, at: int) -> None:
        self.ranges.insert(place + 1, self.ranges[place].cut(at))

    def _join_sacked(self, start: int, end: int) -> None:
        """Neighbors that are sacked become one range, so that repeated blocks are read quickly."""
        ranges = self.ranges
        first = max(0, bisect_right(ranges, start, key=_start_of) - 2)
        last = min(len(ranges), bisect_right(ranges, end, key=_start_of) + 1)
        kept = ranges[first : first + 1]
        for found in ranges[first + 1 : last]:
            if found.is_sacked and kept[-1].is_sacked:
                joined = SentRange(kept[-1].start, found.end, found.sent_at)
                joined.is_sacked = True
                kept[-1] = joined
            else:
                kept.append(found)
        if len(kept) < last - first:
            ranges[first:last] = kept


def _start_of(found: SentRange) -> int:
    return found.start
