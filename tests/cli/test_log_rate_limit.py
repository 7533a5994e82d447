"""No kind of line floods the log, none that was left out goes uncounted, and the other kinds are heard."""

from __future__ import annotations

import logging

import pytest

from tunnel.cli.log_rate_limit import LINES_AT_ONCE, LINES_RATE, LogRateLimit


class Page(logging.Handler):
    """What was logged: the text, and how many like it were left out before."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, int]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.getMessage(), record.__dict__.get("left_out", 0)))


class Desk:
    """A logger, its limit, what is behind it, and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.page = Page()
        self.limit = LogRateLimit(self.page, lambda: self.now)
        self.log = logging.Logger("desk", logging.DEBUG)
        self.log.addHandler(self.limit)

    def flood(self, count: int) -> None:
        for number in range(count):
            self.log.info("node %s came", number)

    def say(self) -> None:
        self.log.info("another kind")

    @property
    def lines(self) -> list[tuple[str, int]]:
        lines, self.page.lines = self.page.lines, []
        return lines


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_comes_seldom_is_all_there(desk: Desk) -> None:
    for _ in range(300):
        desk.now += 1 / LINES_RATE
        desk.flood(1)
    assert desk.lines == [("node 0 came", 0)] * 300


def test_a_flood_of_one_kind_is_cut_and_the_other_kinds_are_heard(desk: Desk) -> None:
    """Thirty nodes that come and go wrote 179 lines a second, and an operator's own line was lost among them."""
    desk.flood(10_000)
    desk.say()
    lines = desk.lines
    assert lines[-1] == ("another kind", 0)
    assert len(lines) == LINES_AT_ONCE + 1


def test_the_latest_line_left_out_is_logged_with_the_number_of_the_others(desk: Desk) -> None:
    """By the next line of any kind, once one fits: nobody has to wait for another flood."""
    desk.flood(10_000)
    assert len(desk.lines) == LINES_AT_ONCE
    desk.now += 1 / LINES_RATE
    desk.say()
    assert desk.lines == [("node 9999 came", 10_000 - int(LINES_AT_ONCE) - 1), ("another kind", 0)]


def test_all_are_counted_in_a_flood_that_lasts(desk: Desk) -> None:
    for _ in range(100):
        desk.now += 0.1
        desk.flood(50)
    desk.limit.flush()
    lines = desk.lines
    assert len(lines) + sum(left_out for _, left_out in lines) == 5000
    assert len(lines) <= LINES_AT_ONCE + 10 * LINES_RATE + 2


def test_the_end_of_the_process_logs_the_rest(desk: Desk) -> None:
    desk.flood(100)
    desk.limit.flush()
    assert desk.lines[-1] == ("node 99 came", 100 - int(LINES_AT_ONCE) - 1)
    desk.limit.flush()
    assert desk.lines == []


def test_debug_is_whole(desk: Desk) -> None:
    """A user who looks for a fault asked for every line."""
    for number in range(1000):
        desk.log.debug("packet %s", number)
    assert len(desk.lines) == 1000
