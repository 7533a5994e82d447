"""Accepting connections on a machine that is out of descriptors or memory: wait, try again, and log it rarely."""

from __future__ import annotations

import logging
import math

import trio

EXHAUSTED_PAUSE = 0.1
"""Seconds to wait when the machine has no file descriptor or memory left."""
QUIET = 60.0
"""Seconds without a failure after which the next one is the first again."""

_log = logging.getLogger(__name__)


class AcceptBackoff:
    """Waits after each failure of one listener to accept, and logs the first, second, fourth, eighth ... of them."""

    def __init__(self, what: str) -> None:
        """`what` is accepted, for the log, such as "connections of nodes"."""
        self._what = what
        self._times = 0
        self._latest = -math.inf

    async def wait(self, error: Exception) -> None:
        """Return when it is worth trying again."""
        now = trio.current_time()
        if now - self._latest > QUIET:
            self._times = 0
        self._times += 1
        self._latest = now
        if self._times & (self._times - 1) == 0:
            reason = getattr(error, "strerror", None) or str(error)
            _log.warning(
                "cannot accept %s, they wait; is the limit of open files too low?",
                self._what,
                extra={"reason": reason, "times": self._times},
            )
        await trio.sleep(EXHAUSTED_PAUSE)
