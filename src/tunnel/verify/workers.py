"""Runs many jobs on all cores: workers are processes, results come in the order of the jobs.

    run_all --job--> worker        one pipe a worker, one job at a time: no job waits in a worker
            <--result--            a worker ends when its pipe is closed or its parent ends, whatever it is doing

Only the parent sees an interrupt; it ends the workers.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess, parent_process
from multiprocessing.reduction import ForkingPickler
from threading import Thread
from typing import Generic, TypeVar

from tunnel.model.errors import TunnelError

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


class WorkerLost(TunnelError):
    """A worker died during a job: it was killed, or out of memory."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def run_all(
    task: Callable[[_Job], _Result],
    jobs: Sequence[_Job],
    *,
    processes: int | None = None,
    on_done: Callable[[_Result], None] = lambda _: None,
    on_error: Callable[[_Job, Exception], _Result] | None = None,
) -> list[_Result]:
    """The results of `task` for each job; `task` is a function of a module, jobs and results can be pickled.

    `on_done` is called as results come, in any order. `processes` defaults to all cores; with one process or one job
    everything runs here. `on_error` turns what a task raises, or WorkerLost, into a result; without it the error is
    raised here, and the jobs that have not begun are dropped.
    """
    count = min(processes or cores(), len(jobs))
    done: dict[int, _Result] = {}
    with closing(_here(task, jobs) if count <= 1 else _elsewhere(task, jobs, count)) as answers:
        for at, answer in answers:
            if isinstance(answer, _Raised):
                if on_error is None:
                    raise answer.error
                done[at] = on_error(jobs[at], answer.error)
            else:
                done[at] = answer
            on_done(done[at])
    return [done[at] for at in range(len(jobs))]


class _Raised:
    """An error in place of a result. Its notes hold the traceback, which cannot be sent itself."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _here(
    task: Callable[[_Job], _Result], jobs: Sequence[_Job]
) -> Generator[tuple[int, _Result | _Raised], None, None]:
    for at, job in enumerate(jobs):
        try:
            answer: _Result | _Raised = task(job)
        except Exception as error:
            answer = _Raised(error)
        yield at, answer


def _elsewhere(
    task: Callable[[_Job], _Result], jobs: Sequence[_Job], count: int
) -> Generator[tuple[int, _Result | _Raised], None, None]:
    todo = iter(range(len(jobs)))
    busy: dict[Connection, tuple[int, _Worker[_Job]]] = {}
    workers: list[_Worker[_Job]] = []

    def employ(worker: _Worker[_Job] | None) -> None:
        at = next(todo, None)
        if at is None:
            return
        if worker is None:
            with _uninterrupted():  # a process inherits the signal mask
                workers.append(worker := _Worker(task))
        with suppress(OSError):  # it is dead: that is noticed where its answer is awaited
            worker.pipe.send(jobs[at])
        busy[worker.pipe] = at, worker

    try:
        for _ in range(count):
            employ(None)
        while busy:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                at, worker = busy.pop(pipe)
                try:
                    answer = pipe.recv()
                except (EOFError, OSError):
                    yield at, _Raised(worker.lost())
                    employ(None)
                else:
                    yield at, answer
                    employ(worker)
    finally:
        with _uninterrupted():
            for worker in workers:
                worker.end()


class _Worker(Generic[_Job]):
    """One process. It has nothing to clean up, so it is killed at the end."""

    def __init__(self, task: Callable[[_Job], object]) -> None:
        self.pipe, far = multiprocessing.Pipe()
        self._process: BaseProcess = multiprocessing.get_context("spawn").Process(
            target=_work, args=(task, far), daemon=True
        )
        self._process.start()
        far.close()

    def lost(self) -> WorkerLost:
        """The error that says why it does not answer."""
        self._process.join()
        code = self._process.exitcode or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        return WorkerLost(f"the process of this run {how}")

    def end(self) -> None:
        self.pipe.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _work(task: Callable[[object], object], pipe: Connection) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    gc.freeze()  # what is imported by now is never garbage: the collector need not look at it
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            answer = ForkingPickler.dumps(task(job))
        except Exception as error:
            error.add_note(traceback.format_exc())
            answer = ForkingPickler.dumps(_Raised(_sendable(error)))
        try:
            pipe.send_bytes(answer)
        except OSError:
            return  # the parent is gone


def _sendable(error: Exception) -> Exception:
    """The error itself, or its text if it cannot be pickled."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay an interrupt until the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
