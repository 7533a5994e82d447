from __future__ import annotations

import signal

import pytest
from bench.performance.time_limit import time_limit


def test_what_hangs_is_stopped() -> None:
    """The alarm of the real clock: there is no other way to end a call that blocks."""
    with pytest.raises(TimeoutError, match=r"not done within 0\.01 s"), time_limit(0.01):
        signal.pause()


def test_what_ends_in_time_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with time_limit(60.0):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0.0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before
