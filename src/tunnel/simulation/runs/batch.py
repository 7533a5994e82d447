"""Many runs on all cores: each in a process of its own kind, results in the order of the jobs."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import TypeVar

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

AHEAD = 4
"""Jobs that wait at each process, at most: enough to keep it busy, few enough to stop soon."""


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def run_all(
    task: Callable[[_Job], _Result],
    jobs: Sequence[_Job],
    *,
    processes: int | None = None,
    on_done: Callable[[_Result], None] = lambda _: None,
) -> list[_Result]:
    """`task` of each job; `task` is a function of a module, jobs and results can be pickled.

    `on_done` is called as results come, in any order. `processes`: all cores if left out; with one, or one job,
    everything happens here. What a task raises leaves here, and the jobs not yet begun are dropped.
    """
    count = min(processes or cores(), len(jobs))
    if count <= 1:
        results = []
        for job in jobs:
            results.append(task(job))
            on_done(results[-1])
        return results
    done: dict[int, _Result] = {}
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: dict[Future[_Result], int] = {}
        todo = iter(range(len(jobs)))
        try:
            while len(done) < len(jobs):
                while len(waiting) < count * AHEAD and (at := next(todo, None)) is not None:
                    waiting[pool.submit(task, jobs[at])] = at
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    result = done[waiting.pop(future)] = future.result()
                    on_done(result)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [done[at] for at in range(len(jobs))]
