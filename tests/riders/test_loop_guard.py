"""What tells a tunnel that runs through itself, and how long applications may be kept waiting to find out."""

from __future__ import annotations

import pytest
import trio

from tunnel.riders.loop_guard import ALERT, GAP, GENERATION, HUSH_BURST, HUSH_SHARE, TAIL, LoopGuard

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


SEALED = memoryview(bytes(range(256)) * 10)
PIECE = 1000


def ends(guard: LoopGuard) -> list[bool]:
    """Which of the record's three fragments are known when they come back, wrapped; the last one comes last."""
    return [not guard.take(b"wrapped" + bytes(SEALED[:end])) for end in (PIECE, 2 * PIECE, len(SEALED))]


async def test_of_a_record_the_last_fragment_is_remembered() -> None:
    """It comes back after the others, so the next record is looked at in full."""
    guard = LoopGuard()
    guard.note_record(SEALED, PIECE)
    assert not guard.is_alert
    assert ends(guard) == [False, False, True]
    assert guard.is_alert


@pytest.mark.parametrize("rest", [0, 1, TAIL - 1, TAIL])
async def test_of_a_record_whose_last_fragment_is_shorter_than_a_tail_the_one_before_is_remembered(rest: int) -> None:
    guard, sealed = LoopGuard(), SEALED[: 2 * PIECE + rest]
    guard.note_record(sealed, PIECE)
    header = bytes(TAIL)
    fragments = [header + bytes(sealed[at : at + PIECE]) for at in range(0, len(sealed), PIECE)]
    assert [guard.take(b"wrapped" + fragment) for fragment in fragments].count(False) == 1


async def test_for_a_while_after_a_loop_was_seen_every_fragment_is_remembered() -> None:
    guard = LoopGuard()
    guard.note_record(SEALED, PIECE)
    assert not guard.take(SEALED)
    guard.note_record(SEALED, PIECE)
    assert ends(guard) == [True, True, True]
    await trio.sleep(ALERT)
    assert not guard.is_alert
    for number in range(3 * GENERATION):
        guard.note_sent(datagram(number))
    guard.note_record(SEALED, PIECE)
    assert ends(guard) == [False, False, True]


async def test_the_memory_of_an_alert_is_bounded() -> None:
    guard = LoopGuard()
    guard.note_sent(datagram(1))
    guard.take(datagram(1))
    for number in range(5 * GENERATION):
        guard.note_record(memoryview(number.to_bytes(4) * 16_000), PIECE)
    assert len(guard._recent) + len(guard._older) < 2 * (GENERATION + 64)


async def test_a_loop_is_told_at_the_first_second_fourth_time(caplog: pytest.LogCaptureFixture) -> None:
    guard = LoopGuard()
    guard.note_sent(datagram(1))
    for _ in range(7):
        guard.take(datagram(1))
    assert [record.getMessage().rpartition("=")[2] for record in caplog.records] == ["1", "2", "4"]


async def test_what_is_told_of_a_loop_holds_for_a_peer_that_had_its_datagram_s_end_echoed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A peer that gets our datagram knows its end, and may have any echo service here send it back."""
    guard = LoopGuard()
    guard.note_sent(datagram(1))
    assert not guard.take(b"an echo to the one who asked: " + datagram(1))
    assert "or a peer had a program here send that back" in caplog.text


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


async def ask_always(guard: LoopGuard, hours: int, *, is_wanted: bool) -> float:
    """Ask for a second of quiet each second: how many were granted."""
    quiet = 0.0
    for _ in range(hours * 3600):
        quiet += guard.hush(1.0, is_wanted=is_wanted)
        await trio.sleep(1.0)
    return quiet


async def test_however_many_peers_ask_applications_wait_for_little_of_the_time() -> None:
    """Each peer has a bound of its own, and a member has as many keys as it likes."""
    for is_wanted in (True, False):
        began = trio.current_time()
        quiet = await ask_always(LoopGuard(), 1, is_wanted=is_wanted)
        assert 0.0 < quiet <= HUSH_BURST + HUSH_SHARE * (trio.current_time() - began) + 1.0


async def test_peers_that_nobody_sends_to_leave_enough_for_the_others() -> None:
    guard = LoopGuard()
    await ask_always(guard, 1, is_wanted=False)
    for _ in range(int(HUSH_BURST / 2)):
        await trio.sleep(1.0 + GAP)
        assert guard.hush(1.0)
    await trio.sleep(1.0 + GAP)
    assert not guard.hush(1.0, is_wanted=False)
