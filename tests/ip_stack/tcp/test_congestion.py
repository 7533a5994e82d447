"""CUBIC (RFC 9438), HyStart++ (RFC 9406) and pacing, by their own numbers."""

from __future__ import annotations

import pytest

from tunnel.ip_stack.tcp.cubic import Cubic
from tunnel.ip_stack.tcp.hystart import HyStart
from tunnel.ip_stack.tcp.pacing import Pacer

MSS = 1000


@pytest.mark.parametrize(("mss", "window"), [(1000, 10_000), (1460, 14_600), (9000, 18_000)])
def test_the_initial_window_is_ten_segments_or_less(mss: int, window: int) -> None:
    """RFC 6928."""
    assert Cubic(mss).window == window


def test_slow_start_grows_by_what_is_acknowledged() -> None:
    cubic = Cubic(MSS)
    cubic.grow(5000, 0.1, 0.0)
    assert cubic.window == 15_000
    assert cubic.is_slow_starting


def avoid(cubic: Cubic, seconds: float, rtt: float = 0.1) -> None:
    """A window is acknowledged each round trip."""
    now = 0.0
    while now < seconds:
        cubic.grow(int(cubic.window), rtt, now)
        now += rtt


def test_a_loss_takes_three_tenths_and_k_seconds_bring_them_back() -> None:
    """Figure 1 and section 4.2: K = cube root of (W_max - cwnd) / C."""
    cubic = Cubic(MSS)
    cubic.window = 1_000_000.0
    cubic.reduce()
    assert cubic.threshold == 700_000
    cubic.window = cubic.threshold
    k = (300 / 0.4) ** (1 / 3)
    avoid(cubic, k)
    assert cubic.window == pytest.approx(1_000_000, rel=0.03)


def test_growth_is_slow_near_the_old_window_and_fast_beyond() -> None:
    cubic = Cubic(MSS)
    cubic.window = 1_000_000.0
    cubic.reduce()
    cubic.window = cubic.threshold
    windows = []
    for step in range(180):
        cubic.grow(int(cubic.window), 0.1, step / 10)
        windows.append(cubic.window)
    k = int(10 * (300 / 0.4) ** (1 / 3))
    assert windows[10] - windows[0] > 5 * (windows[k] - windows[k - 10])
    assert windows[179] - windows[169] > 5 * (windows[k] - windows[k - 10])


def test_a_small_window_grows_as_renos_would() -> None:
    """Section 4.3: on short paths CUBIC's curve is slower than that."""
    cubic = Cubic(MSS)
    cubic.window = 10_000.0
    cubic.reduce()
    cubic.window = cubic.threshold
    avoid(cubic, 1.0, rtt=0.01)
    reno = 7 + 100 * 3 * 0.3 / 1.7
    assert cubic.window / MSS >= 0.8 * reno


def test_two_losses_soon_after_each_other_leave_room_for_others() -> None:
    """Fast convergence, section 4.7."""
    cubic = Cubic(MSS)
    cubic.window = 1_000_000.0
    cubic.reduce()
    cubic.window = cubic.threshold
    cubic.reduce()
    assert cubic._origin == pytest.approx(700 * 1.7 / 2)


def test_the_window_is_never_less_than_two_segments_but_for_a_timeout() -> None:
    cubic = Cubic(MSS)
    for _ in range(50):
        cubic.reduce()
        cubic.window = cubic.threshold
    assert cubic.window == 2000
    cubic.collapse()
    assert cubic.window == 1000


def test_an_episode_for_nothing_is_undone() -> None:
    cubic = Cubic(MSS)
    cubic.window = 500_000.0
    cubic.reduce()
    cubic.collapse()
    cubic.undo()
    assert cubic.window == 500_000
    assert cubic.is_slow_starting


def test_a_long_silence_shrinks_the_window_to_the_first() -> None:
    """Nobody knows what the path carries after that."""
    cubic = Cubic(MSS)
    cubic.window = 1_000_000.0
    cubic.idle(0.1, 0.2)
    assert cubic.window == 1_000_000
    cubic.idle(0.3, 0.2)
    assert cubic.window == 500_000
    cubic.idle(1000.0, 0.2)
    assert cubic.window == 10_000


def round_trips(hystart: HyStart, *rtts: float) -> None:
    for number, rtt in enumerate(rtts):
        for sample in range(10):
            hystart.see(rtt, number * 100 + sample, number * 100 + 100)


def test_slow_start_becomes_careful_when_round_trips_grow() -> None:
    hystart = HyStart()
    round_trips(hystart, 0.1, 0.1, 0.1)
    assert hystart.divisor == 1
    hystart = HyStart()
    round_trips(hystart, 0.1, 0.12)
    assert hystart.divisor == 4


def test_careful_slow_start_ends_after_five_rounds() -> None:
    hystart = HyStart()
    round_trips(hystart, 0.1, *[0.12 + step / 100 for step in range(5)])
    assert not hystart.is_over
    round_trips(hystart, *[0.2] * 10)


def test_careful_slow_start_ends_when_it_goes_on() -> None:
    hystart = HyStart()
    round_trips(hystart, 0.1, *[0.12 + step / 100 for step in range(8)])
    assert hystart.is_over


def test_round_trips_that_shrink_again_were_jitter() -> None:
    hystart = HyStart()
    round_trips(hystart, 0.1, 0.12, 0.1)
    assert hystart.divisor == 1


def test_a_window_leaves_in_the_time_of_a_round_trip() -> None:
    pacer = Pacer()
    pacer.follow(100_000, 0.1, is_slow_starting=False)
    now = 10.0
    sent = 0
    while now < 10.1:
        if pacer.next_at <= now:
            size = pacer.quantum(MSS, 60_000)
            pacer.sent(size, now)
            sent += size
        now += 0.0001
    assert sent == pytest.approx(120_000, rel=0.05)


def test_nothing_is_paced_before_a_round_trip_is_known() -> None:
    pacer = Pacer()
    pacer.follow(100_000, 0.0, is_slow_starting=True)
    pacer.sent(60_000, 10.0)
    assert pacer.next_at <= 10
    assert pacer.quantum(MSS, 60_000) == 60_000


@pytest.mark.parametrize(("rate", "quantum"), [(1e5, 2000), (1e7, 10_000), (1e9, 60_000)])
def test_superpackets_are_as_long_as_a_millisecond(rate: float, quantum: int) -> None:
    pacer = Pacer()
    pacer.rate = rate
    assert pacer.quantum(MSS, 60_000) == quantum
