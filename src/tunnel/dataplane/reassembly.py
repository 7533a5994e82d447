"""Joins the fragments of records that did not come in one read. Pure: time is passed in.

Nothing here is authenticated yet, so all is bounded: the caller asks only for records that the flow could open now; one
flow holds at most MAX_RECORDS and MAX_BYTES, all flows together the bytes of the node's `ReassemblyBudget`. What is not
complete after PATIENCE seconds is given up, and so is the oldest when room is needed. Of two fragments with one number
the first counts: whoever can forge one breaks one record, no more (docs/security.md).
"""

from __future__ import annotations

from collections.abc import Callable

from tunnel.dataplane.fragmentation import MAX_SEALED
from tunnel.model.buffers import Buffer
from tunnel.model.errors import MalformedFrame, NotAuthentic
from tunnel.network.datagrams import MAX_SEGMENTS

MAX_RECORDS = 8
MAX_BYTES = 512 * 1024
MAX_NODE_BYTES = 16 * 1024 * 1024
PATIENCE = 0.2
_OVERHEAD = 128
"""Bytes that a fragment is charged besides its own."""

Key = tuple[int, int]
"""Receiver index and counter: what all fragments of a record share."""


class ReassemblyBudget:
    """The bytes that all flows of a node may hold together."""

    __slots__ = ("_begun", "dropped", "free")

    def __init__(self, total: int = MAX_NODE_BYTES) -> None:
        self.free = total
        self.dropped = 0
        """Fragments that were given up: their record did not become whole in time, or there was no room for it."""
        self._begun: dict[_Pieces, Reassembly] = {}

    def begin(self, record: _Pieces, holder: Reassembly) -> None:
        """Keep a record in mind until it ends."""
        self._begun[record] = holder

    def end(self, record: _Pieces) -> None:
        """Nothing of this record is held any more."""
        del self._begun[record]
        self.free += record.held

    def drop_stale(self, now: float) -> None:
        """Give up what has waited too long, of all flows: also of those that hear nothing more, or are gone."""
        while self._begun:
            record, holder = next(iter(self._begun.items()))
            if now - record.begun < PATIENCE:
                return
            holder.give_up(record.key)


class _Pieces:
    """What came of one record."""

    __slots__ = ("begun", "count", "held", "key", "pieces", "size")

    def __init__(self, key: Key, count: int, now: float) -> None:
        self.key = key
        self.begun = now
        self.count = count
        self.pieces: dict[int, bytes] = {}
        self.size = 0
        """Bytes of a piece that is not the last; 0: none has come."""
        self.held = 0


class Reassembly:
    """One for each flow. `note_broken(fragments, came)` is called for each record that is given up."""

    __slots__ = ("_budget", "_held", "_note_broken", "_records")

    def __init__(self, budget: ReassemblyBudget, note_broken: Callable[[int, int], None]) -> None:
        self._budget = budget
        self._note_broken = note_broken
        self._records: dict[Key, _Pieces] = {}
        self._held = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, key: Key, fragment: int, fragments: int, piece: Buffer, now: float) -> bytes | None:
        """The sealed record if this completes it, else None. What raises is not kept.

        Raises NotAuthentic for a fragment that came before, MalformedFrame for one that contradicts the others.
        """
        budget = self._budget
        budget.drop_stale(now)
        record = self._records.get(key)
        if record is None:
            record = _Pieces(key, fragments, now)
        size, is_last = len(piece), fragment == fragments - 1
        full, last = (record.size, size) if is_last else (size, len(record.pieces.get(fragments - 1, b"")))
        if fragment in record.pieces:
            raise NotAuthentic("a fragment that came before")
        if (
            fragments != record.count
            or not 1 < fragments <= MAX_SEGMENTS
            or fragment >= fragments
            or not size
            or (not is_last and record.size not in (0, size))
            or 0 < full < last
            or full * (fragments - 1) + last > MAX_SEALED
        ):
            raise MalformedFrame("a fragment that fits no record, or not the others of its own")
        cost = size + _OVERHEAD
        if not self._make_room(key, cost):
            budget.dropped += 1
            return None
        if not record.pieces:
            self._records[key] = record
            budget.begin(record, self)
        record.pieces[fragment] = bytes(piece)
        record.held += cost
        self._held += cost
        budget.free -= cost
        if not is_last:
            record.size = size
        if len(record.pieces) < fragments:
            return None
        self._end(record)
        return b"".join([record.pieces[number] for number in range(fragments)])

    def forget(self, key: Key) -> None:
        """This record came whole in another way."""
        record = self._records.get(key)
        if record is not None:
            self._budget.dropped += len(record.pieces)
            self._end(record)

    def give_up(self, key: Key) -> None:
        """This record is not complete, and will not be."""
        self._note_broken(self._records[key].count, len(self._records[key].pieces))
        self.forget(key)

    def _make_room(self, key: Key, size: int) -> bool:
        """Give up the oldest records until there is room for so many bytes of this one. False: there is none."""
        records = self._records
        while (
            self._held + size > MAX_BYTES
            or self._budget.free < size
            or (key not in records and len(records) >= MAX_RECORDS)
        ):
            oldest = next((other for other in records if other != key), None)
            if oldest is None:
                return False
            self.give_up(oldest)
        return True

    def _end(self, record: _Pieces) -> None:
        del self._records[record.key]
        self._held -= record.held
        self._budget.end(record)
