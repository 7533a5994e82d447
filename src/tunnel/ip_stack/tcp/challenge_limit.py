"""How many acknowledgments a connection sends that only say "this segment was not acceptable" (RFC 5961 section 7)."""

from __future__ import annotations

_BURST = 10
_A_SECOND = 10.0


class ChallengeLimit:
    """A token bucket of one connection: a count that all shared would tell a stranger about others (CVE-2016-5696)."""

    __slots__ = ("_at", "_tokens")

    def __init__(self) -> None:
        self._tokens = float(_BURST)
        self._at = 0.0

    def allows(self, now: float) -> bool:
        """Whether one more may be sent; counts it."""
        self._tokens = min(float(_BURST), self._tokens + max(0.0, now - self._at) * _A_SECOND)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
