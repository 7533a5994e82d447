"""Many runs on all cores give the same as one after the other."""

from __future__ import annotations

import math
import operator
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from tunnel.verify.workers import WorkerLost, cores, run_all


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


@pytest.mark.parametrize("processes", [1, 2])
def test_a_job_that_raises_costs_its_own_result_alone(processes: int) -> None:
    found = run_all(math.isqrt, [9, -1, 16], processes=processes, on_error=lambda job, error: -abs(job) - 100)
    assert found == [3, -101, 4]


DYING = ["1", "import os; os.kill(os.getpid(), 9)", "2", "3", "4"]


def test_a_worker_that_is_killed_costs_one_result() -> None:
    assert run_all(exec, DYING, processes=2, on_error=_tell) == [
        None,
        "the process of this run was killed by signal 9",
        None,
        None,
        None,
    ]
    with pytest.raises(WorkerLost):
        run_all(exec, DYING, processes=2)


def test_what_cannot_be_sent_is_told_all_the_same() -> None:
    odd = "class Odd(Exception):\n    pass\nraise Odd('strange')"
    assert run_all(exec, [odd, odd], processes=2, on_error=_tell) == ["Odd: strange", "Odd: strange"]
    locks: list[Callable[[], Any]] = [Lock, Lock]
    assert run_all(operator.call, locks, processes=2, on_error=_tell) == ["cannot pickle '_thread.lock' object"] * 2


def _tell(_: object, error: Exception) -> Any:
    return str(error)


PARENT = """
import os, sys
from tunnel.verify.workers import run_all
def spin(fifo):
    os.write(os.open(fifo, os.O_WRONLY), b"%d\\n" % os.getpid())
    while True: pass
if __name__ == "__main__":
    run_all(spin, [sys.argv[1]] * 50, processes=2)
"""


def _has_ended(process: int) -> bool:
    """Whether the process of this descriptor ends within a patience: it closes its files some instants before."""
    return bool(select.select([process], [], [], 10)[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent_however_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    """An interrupt goes to all of them, as from a terminal; the others to the parent alone."""
    script = tmp_path / "parent.py"
    fifo = tmp_path / "pids"
    os.mkfifo(fifo)
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(fifo)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        with fifo.open() as told:
            workers = [os.pidfd_open(int(told.readline())) for _ in range(2)]
        if number is signal.SIGINT:
            os.killpg(parent.pid, number)
        else:
            parent.send_signal(number)
        _, said = parent.communicate(timeout=30)  # ends when the last process that holds stderr has ended
    finally:
        with suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
    assert parent.returncode == -number
    assert all(map(_has_ended, workers))
    for worker in workers:
        os.close(worker)
    assert "leaked" not in said
    assert said.count("Traceback") == (1 if number is signal.SIGINT else 0)  # the parent's own, which nobody caught
