"""The scoreboard against one mark for each byte."""

from __future__ import annotations

import random

import pytest

from tunnel.ip_stack.tcp.scoreboard import MOST_RANGES, Scoreboard


def check(board: Scoreboard, marks: dict[int, str]) -> None:
    seen = {
        offset: "s" if found.is_sacked else "l" if found.is_lost else "."
        for found in board.ranges
        for offset in range(found.start, found.end)
    }
    assert seen == marks
    assert board.sacked == sum(mark == "s" for mark in marks.values())
    assert board.lost == sum(mark == "l" for mark in marks.values())
    assert all(a.end == b.start for a, b in zip(board.ranges, board.ranges[1:], strict=False))


@pytest.mark.parametrize("seed", range(40))
def test_every_byte_has_the_mark_that_it_should_have(seed: int) -> None:
    chance = random.Random(seed)
    board, marks, una, nxt = Scoreboard(), dict[int, str](), 1, 1
    for step in range(200):
        match chance.randrange(5):
            case 0:
                size = chance.choice((1, 7, 30))
                board.add(nxt, nxt + size, step)
                marks.update(dict.fromkeys(range(nxt, nxt + size), "."))
                nxt += size
            case 1:
                number = chance.randint(una, nxt)
                arrived = board.acknowledge(number)
                assert sum(found.end - found.start for found in arrived) == sum(
                    marks.pop(offset) != "s" for offset in range(una, number)
                )
                una = number
            case 2:
                start = chance.randint(una - 5, nxt)
                end = start + chance.randint(-2, 40)
                arrived = board.sack([(start, end)])
                inside = [offset for offset in range(max(start, una), min(end, nxt)) if marks[offset] != "s"]
                assert sum(found.end - found.start for found in arrived) == len(inside)
                marks.update(dict.fromkeys(inside, "s"))
            case 3:
                if board.ranges:
                    found = chance.choice(board.ranges)
                    board.mark_lost(found)
                    if not found.is_sacked:
                        marks.update(dict.fromkeys(range(found.start, found.end), "l"))
            case _:
                lost = board.first_lost(8)
                assert (lost is None) == ("l" not in marks.values())
                if lost is not None:
                    assert lost.start == min(offset for offset, mark in marks.items() if mark == "l")
                    assert lost.end - lost.start <= 8
                    board.retransmit(lost, step)
                    marks.update(dict.fromkeys(range(lost.start, lost.end), "."))
        check(board, marks)


def test_blocks_that_are_repeated_are_one_range() -> None:
    """Each acknowledgment names what the last ones named: reading it must not take longer and longer."""
    board = Scoreboard()
    board.add(1, 100_001, 0.0)
    for end in range(20, 90_000, 10):
        board.sack([(10, end)])
    assert len(board.ranges) == 3


def test_a_peer_that_names_single_bytes_is_believed_only_so_far() -> None:
    """Memory and time are bounded, whatever it names."""
    board = Scoreboard()
    board.add(1, 1_000_001, 0.0)
    for start in range(3, 20_003, 2):
        board.sack([(start, start + 1)])
    assert len(board.ranges) <= MOST_RANGES + 2


def test_a_peer_may_throw_away_what_it_named() -> None:
    """RFC 2018 section 8: after a timeout everything may have to be sent again."""
    board = Scoreboard()
    board.add(1, 101, 0.0)
    board.sack([(1, 51)])
    board.forget_sacks()
    assert board.sacked == 0
    assert not any(found.is_sacked for found in board.ranges)
