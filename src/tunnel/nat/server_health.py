"""What is remembered of STUN servers from one survey to the next: who answers, how fast, and who never does.

A server that stayed silent three times while others answered is asked once more only, not on the whole ladder; it is
asked all the same, and one answer clears it. In memory: a node that starts knows nothing ill of anybody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

FAINT_AFTER = 3
"""Silences in a row."""


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """One server, as it stands in the settings."""

    server: str
    answered_ago: float | None = None
    """Seconds since its last answer; None: it never gave one."""
    rtt: float | None = None
    """Of that answer, seconds."""
    silences: int = 0
    """Surveys in a row in which others answered and it did not."""
    is_resolved: bool = True
    """Whether its name led anywhere the last time."""


@dataclass(slots=True)
class _Record:
    answered_at: float | None = None
    rtt: float | None = None
    silences: int = 0
    is_resolved: bool = True


class ServerRecords:
    """The memory. Times are Trio's."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def note(self, asked: Collection[str], heard: Mapping[str, float], unresolved: Collection[str], now: float) -> None:
        """A survey is over: whom it asked, the round trips of those that answered, and names that led nowhere.

        Where nobody answered, nobody is blamed. Servers that were not asked are forgotten.
        """
        self._records = {server: self._records.get(server) or _Record() for server in asked}
        for server, record in self._records.items():
            record.is_resolved = server not in unresolved
            if server in heard:
                record.answered_at, record.rtt, record.silences = now, heard[server], 0
            elif heard:
                record.silences += 1

    def faint(self) -> frozenset[str]:
        """Those that are hardly worth asking."""
        return frozenset(server for server, record in self._records.items() if record.silences >= FAINT_AFTER)

    def is_silent(self, server: str) -> bool:
        """Whether others answered the last survey that asked it, and it did not."""
        record = self._records.get(server)
        return record is not None and record.silences > 0

    def health(self, now: float) -> tuple[ServerHealth, ...]:
        """All of it, in the order of asking."""
        return tuple(
            ServerHealth(
                server,
                None if record.answered_at is None else now - record.answered_at,
                record.rtt,
                record.silences,
                record.is_resolved,
            )
            for server, record in self._records.items()
        )
