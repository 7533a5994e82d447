"""Programs that are stopped in the middle, as by SIGSTOP: their tasks take no step, and everything around them goes on.

    run queue of Trio --append--> a task of a stopped program? --yes--> held until it goes on
                                                               `-no---> runs

Their machine goes on: what arrives waits in the kernel's buffers, acknowledged where it is a stream; clocks run, so all
timers that ended meanwhile have ended when the program goes on. The trace hook in a task's context tells whose it is.
The run queue is Trio's own and private: the tests of this file watch it. It is replaced only while one is stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from trio._core import _run
from trio.lowlevel import Task

from tunnel.machines.trace_hook import TRACE_HOOK, TraceHook

Held = dict[TraceHook | None, list[Task]]


class _Queue(deque[Task]):
    """A run queue that takes no task of a stopped program."""

    def __init__(self, tasks: Iterable[Task], held: Held) -> None:
        super().__init__()
        self._held = held
        for task in tasks:
            self.append(task)

    def append(self, task: Task) -> None:
        """Queue a task, or hold it if its program is stopped."""
        held = self._held.get(task.context.get(TRACE_HOOK))
        if held is None:
            super().append(task)
        else:
            held.append(task)


class FrozenPrograms:
    """The stopped programs of a run, by the trace hook in the context of their tasks."""

    def __init__(self) -> None:
        self._held: Held = {}

    def stop(self, trace_hook: TraceHook) -> None:
        """Stop a program: from the next turn of the loop on, none of its tasks takes a step."""
        if trace_hook not in self._held:
            self._held[trace_hook] = []
            runner = _run.GLOBAL_RUN_CONTEXT.runner
            runner.runq = _Queue(runner.runq, self._held)

    def go_on(self, trace_hook: TraceHook) -> None:
        """Resume a program: all that its tasks waited for has happened at once. A running one is left alone."""
        tasks = self._held.pop(trace_hook, [])
        runner = _run.GLOBAL_RUN_CONTEXT.runner
        if not self._held:
            runner.runq = deque(runner.runq)
        runner.runq.extend(tasks)

    def is_stopped(self, trace_hook: TraceHook) -> bool:
        """Whether this program is stopped."""
        return trace_hook in self._held
