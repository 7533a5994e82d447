"""Many runs on all cores give what one after the other would give."""

from __future__ import annotations

import math
import operator
import os

import pytest

from tunnel.simulation.runs.batch import cores, run_all


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_the_order_of_the_jobs(processes: int) -> None:
    told: list[int] = []
    assert run_all(math.factorial, range(20), processes=processes, on_done=told.append) == [
        math.factorial(at) for at in range(20)
    ]
    assert sorted(told) == [math.factorial(at) for at in range(20)]


def test_one_process_is_this_one_and_two_are_others() -> None:
    assert run_all(operator.call, [os.getpid] * 3, processes=1) == [os.getpid()] * 3
    assert os.getpid() not in run_all(operator.call, [os.getpid] * 3, processes=2)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_job_raises_is_raised_here(processes: int) -> None:
    with pytest.raises(ValueError, match="nonnegative"):
        run_all(math.isqrt, range(3, -50, -1), processes=processes)


def test_nothing_to_do_is_done_at_once() -> None:
    assert run_all(math.factorial, []) == []
    assert cores() >= 1
