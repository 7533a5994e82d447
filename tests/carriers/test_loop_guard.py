"""What tells a tunnel that runs through itself, and how long applications may be kept waiting to find out."""

from __future__ import annotations

import pytest
import trio

from tunnel.carriers.loop_guard import GAP, GENERATION, LoopGuard

pytestmark = pytest.mark.usefixtures("autojump_clock")


def datagram(number: int) -> bytes:
    return b"sealed " + number.to_bytes(16, "big")


async def test_what_was_sent_lately_is_known_by_its_end_and_memory_is_bounded() -> None:
    guard = LoopGuard()
    for number in range(5 * GENERATION):
        guard.note_sent(datagram(number))
    assert not guard.take(b"wrapped" + datagram(5 * GENERATION - 1))
    assert not guard.take(b"wrapped" + datagram(4 * GENERATION))
    assert guard.take(b"wrapped" + datagram(0))
    assert (guard.looped, guard.carried) == (2, len(b"wrapped" + datagram(0)))


async def test_a_loop_is_told_at_the_first_second_fourth_time(caplog: pytest.LogCaptureFixture) -> None:
    guard = LoopGuard()
    guard.note_sent(datagram(1))
    for _ in range(7):
        guard.take(datagram(1))
    assert [record.getMessage().rpartition("=")[2] for record in caplog.records] == ["1", "2", "4"]


async def test_applications_are_heard_for_most_of_the_time() -> None:
    guard = LoopGuard()
    assert guard.hush(0.2)
    assert guard.hush(0.2), "quiet already: others may use it"
    await trio.sleep(0.1)
    assert not guard.hush(0.2), "too little of it is left"
    await guard.wait_audible()
    assert trio.current_time() == pytest.approx(0.2)
    assert not guard.hush(0.2)
    await trio.sleep(GAP * 0.2)
    assert guard.hush(0.2)


async def test_without_a_hush_nobody_waits() -> None:
    await LoopGuard().wait_audible()
    assert trio.current_time() == 0.0
