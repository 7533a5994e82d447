"""A program that is stopped takes no step, its machine runs on, and nothing else is affected."""

from __future__ import annotations

from collections import deque
from contextvars import copy_context

import pytest
import trio
from tests.verify.simulation.pairs import do, expect, pair
from trio._core import _run

from tunnel.machines.trace_hook import TRACE_HOOK
from tunnel.verify.simulation.runs.frozen_programs import FrozenPrograms
from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.runs.trace import Frozen, HostTraceHook, Moved, Passed, Signalled, Trace

TALK = do(1.0, "send", who="desk", to="laptop", until=29.0)
STOPPED = do(5.0, "freeze", who="laptop", seconds=4.0)


@pytest.mark.usefixtures("autojump_clock")
async def test_the_tasks_of_one_program_stand_still_and_then_all_that_they_waited_for_has_happened() -> None:
    ticks: dict[str, list[float]] = {"one": [], "other": []}
    heard: list[float] = []
    send, receive = trio.open_memory_channel[int](10)
    start = trio.current_time()

    async def tick(name: str) -> None:
        while True:
            ticks[name].append(trio.current_time() - start)
            await trio.sleep(1.0)

    async def hear() -> None:
        await receive.receive()
        heard.append(trio.current_time() - start)

    hooks = {name: HostTraceHook(name, Trace(), lambda _: None) for name in ticks}
    frozen = FrozenPrograms()
    async with trio.open_nursery() as nursery:
        for name, hook in hooks.items():
            context = copy_context()
            context.run(TRACE_HOOK.set, hook)
            context.run(nursery.start_soon, tick, name)
            if name == "one":
                context.run(nursery.start_soon, hear)
        await trio.sleep(1.5)
        frozen.stop(hooks["one"])
        assert frozen.is_stopped(hooks["one"])
        await trio.sleep(1.0)
        send.send_nowait(1)
        await trio.sleep(3.0)
        assert heard == []
        frozen.go_on(hooks["one"])
        assert not frozen.is_stopped(hooks["one"])
        await trio.sleep(1.1)
        nursery.cancel_scope.cancel()
    assert ticks == {"one": [0.0, 1.0, 5.5, 6.5], "other": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    assert heard == [5.5]


@pytest.mark.usefixtures("autojump_clock")
async def test_trio_s_own_queue_is_back_when_nobody_is_stopped() -> None:
    """Each step costs more as long as it is not."""
    frozen = FrozenPrograms()
    one, other = (HostTraceHook(name, Trace(), lambda _: None) for name in ("one", "other"))
    frozen.stop(one)
    frozen.stop(other)
    frozen.go_on(one)
    frozen.go_on(one)
    assert type(_run.GLOBAL_RUN_CONTEXT.runner.runq) is not deque
    frozen.go_on(other)
    assert type(_run.GLOBAL_RUN_CONTEXT.runner.runq) is deque
    await trio.sleep(1.0)


def test_a_stopped_node_says_nothing_and_what_came_meanwhile_waits_in_its_machine() -> None:
    back = expect(after=9.0, by=12.0, node="laptop", peer="desk", state="connected", path="direct")
    outcome = run_scenario(pair(TALK, STOPPED, back, length=30.0), 0, keep_trace=True)
    assert outcome.failures == ()
    assert outcome.trace is not None
    records = outcome.trace.records
    assert [record for record in records if isinstance(record, Frozen)] == [
        Frozen(5.0, "laptop", is_stopped=True), Frozen(9.0, "laptop", is_stopped=False),
    ]  # fmt: skip
    while_stopped = [record for record in records if 5.1 < record.at < 9.0]
    assert [record for record in while_stopped if isinstance(record, Signalled) and record.host == "laptop"] == []
    udp = [record for record in while_stopped if isinstance(record, Passed) and "192.168.2." in record.destination]
    assert {record.fate for record in udp if record.what == "data"} == {"delivered"}
    assert not any(isinstance(record, Passed) and record.source.startswith("26.0.2.1") for record in while_stopped)


def test_what_a_stopped_program_s_users_would_send_is_not_sent() -> None:
    nothing_lost = expect(who="laptop", to="desk", lost_at_most=0, arrived_at_most=260)
    back = do(1.0, "send", who="laptop", to="desk", until=29.0)
    assert run_scenario(pair(TALK, back, STOPPED, nothing_lost, length=30.0), 0).failures == ()


@pytest.mark.parametrize("word", ["kill", "stop"])
def test_a_stopped_program_can_be_ended_and_started_again(word: str) -> None:
    """A kill ends it at once; a stop takes effect when it is resumed."""
    end = do(6.0, word, who="laptop")
    again = do(12.0, "start", who="laptop")
    back = expect(after=12.0, by=20.0, node="laptop", peer="desk", state="connected")
    farewells = {"kill": 0, "stop": 1}[word]
    said = expect(host="laptop", signal="withdraw", before=12.0, at_least=farewells, at_most=farewells)
    assert run_scenario(pair(TALK, STOPPED, end, again, back, said, length=30.0), 0).failures == ()


def test_a_program_that_is_stopped_until_the_end_ends_all_the_same() -> None:
    stopped = do(5.0, "freeze", who="laptop", seconds=100.0)
    again = do(6.0, "freeze", who="laptop", seconds=1.0)
    still = expect(who="desk", to="laptop", arrived_at_most=50)
    assert run_scenario(pair(TALK, stopped, again, still, length=30.0), 0).failures == ()


def test_stopping_a_program_repeats_itself() -> None:
    scenario = pair(TALK, STOPPED, do(7.0, "freeze", who="server", seconds=9.0), length=30.0)
    assert run_scenario(scenario, 4).digest == run_scenario(scenario, 4).digest


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_a_program_that_was_stopped_for_a_moment_doubts_nothing_when_it_goes_on(seconds: float) -> None:
    """It takes no step of a chart, makes no keys, and sends nothing over the relay for fear that it is not heard."""
    talk_back = do(1.0, "send", who="laptop", to="desk", until=29.0)
    stops = [do(6.0 + 4.53 * step, "freeze", who="laptop", seconds=seconds) for step in range(5)]
    outcome = run_scenario(pair(TALK, talk_back, *stops, length=30.0), 0, keep_trace=True)
    assert outcome.trace is not None
    records = [record for record in outcome.trace.records if 6.0 < record.at < 29.0]
    moves = [record for record in records if isinstance(record, Moved) and record.host == "laptop"]
    assert [move for move in moves if move.chart != "PortMappingChart"] == []
    passed = [record for record in records if isinstance(record, Passed) and record.source.startswith("26.0.2.1:")]
    assert [record for record in passed if record.what == "handshake"] == []
    relayed = [record for record in passed if record.what == "data" and record.destination.startswith("25.0.0.1:")]
    assert len(relayed) < 25  # probes and pings; a doubt would add ten a second
