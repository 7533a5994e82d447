"""`down` says when the node has ended, and `forget` what became of a name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tunnel.model.errors import Unreachable

if TYPE_CHECKING:
    from tests.cli.conftest import Machine

Command = Callable[..., Any]


def listen_for(machine: Machine, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The node's socket is there for so long after the first caller."""
    began: list[float] = []
    open_stream = machine.open_stream

    async def open_for_a_while(path: Path) -> trio.abc.Stream:
        began.append(trio.current_time())
        if trio.current_time() - began[0] > seconds:
            raise Unreachable("no such file")
        return await open_stream(path)

    monkeypatch.setattr(machine, "open_stream", open_for_a_while)


def test_down_waits_until_the_node_has_ended(
    machine: Machine, command: Command, monkeypatch: pytest.MonkeyPatch, virtual_time: trio.testing.MockClock
) -> None:
    listen_for(machine, monkeypatch, 2.0)
    machine.answers["down"] = [{"name": "desk"}]
    ended = command("down", "--state", "/srv/a")
    assert (ended.code, ended.out, ended.err) == (0, "desk is down\n", "")
    assert machine.requests == [{"do": "down"}]
    assert set(machine.sockets) == {Path("/srv/a/control.sock")}


def test_a_node_that_does_not_end_is_reported(
    machine: Machine, command: Command, monkeypatch: pytest.MonkeyPatch, virtual_time: trio.testing.MockClock
) -> None:
    listen_for(machine, monkeypatch, 60.0)
    machine.answers["down"] = [{"name": "desk"}]
    ended = command("down")
    assert (ended.code, ended.out) == (1, "")
    assert "desk was told to end, but has not ended within 15 s" in ended.err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("`do` is one of invite, netcheck, ping, status, watch, why", "of an older version"),
        ("this node is a part of another program: end that", "part of another program"),
    ],
)
def test_a_node_that_may_not_be_ended_so_is_one_line(
    machine: Machine, command: Command, error: str, words: str
) -> None:
    machine.answers["down"] = [{"ok": False, "code": "bad_request", "error": error}]
    ended = command("down")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert words in ended.err


def test_down_without_a_node_says_so(machine: Machine, command: Command) -> None:
    ended = command("down", "--control", "/nowhere/c.sock")
    assert ended.code == 1
    assert "no node answers at /nowhere/c.sock" in ended.err
