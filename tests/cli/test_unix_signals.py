"""A program that is told to stop may clean up first."""

from __future__ import annotations

import signal

import pytest
import trio

from tunnel.cli.unix_signals import run_until_signal


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)],
    ids=["SIGTERM", "SIGHUP", "SIGINT"],
)
async def test_a_signal_ends_the_program_cleanly(number: signal.Signals, code: int) -> None:
    """Also where whoever started the tests ignores it, as nohup does."""
    steps = []

    async def program() -> None:
        steps.append("began")
        try:
            signal.raise_signal(number)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                signal.raise_signal(number)  # impatient: it must not kill the clean-up
                await trio.testing.wait_all_tasks_blocked()
            steps.append("cleaned up")

    heeded = signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, heeded)
    try:
        assert await run_until_signal(program) == code
    finally:
        signal.signal(number, before)
    assert steps == ["began", "cleaned up"]


async def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    """A closed terminal then ends nothing."""

    async def program() -> None:
        signal.raise_signal(signal.SIGHUP)
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert await run_until_signal(program) == 130
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_program_that_ends_by_itself_is_done() -> None:
    async def program() -> None:
        await trio.lowlevel.checkpoint()

    assert await run_until_signal(program) == 0


async def test_a_program_that_fails_fails() -> None:
    async def program() -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await run_until_signal(program)
