"""A listener whose machine has run out of descriptors waits, goes on, and does not fill the disk with it."""

from __future__ import annotations

import errno
import os

import pytest
import trio
from trio.testing import MockClock

from tunnel.network.accept_backoff import EXHAUSTED_PAUSE, QUIET, AcceptBackoff

FULL = OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_the_first_second_and_fourth_failure_are_told(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten a second for a night would fill the disk too."""
    backoff, begun = AcceptBackoff("connections"), trio.current_time()
    for _ in range(1000):
        await backoff.wait(FULL)
    assert [record.__dict__["times"] for record in caplog.records] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert "Too many open files" in caplog.records[0].__dict__["reason"]
    assert trio.current_time() - begun == pytest.approx(1000 * EXHAUSTED_PAUSE)


async def test_the_next_time_is_a_first_one(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    backoff = AcceptBackoff("connections")
    for _ in range(3):
        await backoff.wait(FULL)
    await trio.sleep(QUIET)
    await backoff.wait(FULL)
    assert [record.__dict__["times"] for record in caplog.records] == [1, 2, 1]
