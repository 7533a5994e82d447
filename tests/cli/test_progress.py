"""A long command says how far it is, on a terminal alone, and leaves no trace."""

from __future__ import annotations

import sys

import pytest
import trio
import trio.testing

from tunnel.cli.progress import showing_elapsed


@pytest.mark.parametrize(
    ("is_terminal", "term", "told"),
    [(True, "xterm", True), (True, "dumb", False), (True, "", False), (False, "xterm", False)],
)
async def test_seconds_are_shown_where_they_can_be_overwritten(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    autojump_clock: trio.testing.MockClock,
    is_terminal: bool,
    term: str,
    told: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    monkeypatch.setenv("TERM", term)
    async with showing_elapsed("looking"):
        await trio.sleep(2.5)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == ("\rlooking: 0 s\rlooking: 1 s\rlooking: 2 s\r            \r" if told else "")
