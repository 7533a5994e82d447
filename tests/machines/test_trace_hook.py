"""A trace hook sees the charts of its own context, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import copy_context

import pytest
import trio

from tunnel.machines.announcement import AnnouncementChart
from tunnel.machines.state_runner import StateRunner
from tunnel.machines.trace_hook import TRACE_HOOK
from tunnel.wire.signals import Signal


class Recorder:
    def __init__(self) -> None:
        self.moves: list[tuple[str, str, str, str, str]] = []
        self.signals: list[tuple[bool, Signal]] = []

    def see_move(self, chart: str, about: str, source: str, event: str, facts: Mapping[str, bool], target: str) -> None:
        self.moves.append((chart, about, source, event, target))

    def see_signal(self, is_sent: bool, signal: Signal) -> None:
        self.signals.append((is_sent, signal))


def announcement(about: str) -> StateRunner:
    return StateRunner(
        AnnouncementChart(), {}, patience=lambda _: 100.0, facts=dict, on_move=lambda *_: None, about=about
    )


@pytest.mark.usefixtures("autojump_clock")
async def test_a_trace_hook_sees_the_moves_in_its_own_context() -> None:
    seen = Recorder()
    watched, unwatched = announcement("watched"), announcement("unwatched")
    context = copy_context()
    context.run(TRACE_HOOK.set, seen)
    async with trio.open_nursery() as nursery:
        context.run(nursery.start_soon, watched.run)
        nursery.start_soon(unwatched.run)
        for runner in (watched, unwatched):
            runner.post("registered")
            runner.post("link_lost")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert watched.state == unwatched.state == "surveying"
    assert seen.moves == [
        ("AnnouncementChart", "watched", "surveying", "registered", "announcing"),
        ("AnnouncementChart", "watched", "announcing", "link_lost", "surveying"),
    ]
