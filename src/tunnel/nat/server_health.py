"""The health of the STUN servers, from one survey to the next: which answer, and how fast.

A server that was silent three times while others answered counts as unresponsive: a survey then sends it two requests
instead of all retransmissions. One answer clears it. Kept in memory only, so a node starts without prejudice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

UNRESPONSIVE_AFTER = 3
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
    """Whether its name resolved the last time."""


@dataclass(slots=True)
class _Record:
    answered_at: float | None = None
    rtt: float | None = None
    silences: int = 0
    is_resolved: bool = True


class ServerRecords:
    """The records of all servers. Times are Trio's."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def note(self, asked: Collection[str], heard: Mapping[str, float], unresolved: Collection[str], now: float) -> None:
        """A survey is over: the servers it asked, the round trips of those that answered, the names without an address.

        Where none answered, none is blamed. Servers that were not asked are forgotten.
        """
        self._records = {server: self._records.get(server) or _Record() for server in asked}
        for server, record in self._records.items():
            record.is_resolved = server not in unresolved
            if server in heard:
                record.answered_at, record.rtt, record.silences = now, heard[server], 0
            elif heard:
                record.silences += 1

    def unresponsive(self) -> frozenset[str]:
        """The servers that have hardly answered lately."""
        return frozenset(server for server, record in self._records.items() if record.silences >= UNRESPONSIVE_AFTER)

    def is_silent(self, server: str) -> bool:
        """Whether it did not answer the last survey that asked it, while others did."""
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
