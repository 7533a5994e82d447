"""The processes of the demo: none outlives it, and each that ends early is told of."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from tunnel.cli.demo import process_commands
from tunnel.crypto.network_keys import new_invite
from tunnel.model.errors import SettingsError
from tunnel.network.tls import parse_pin
from tunnel.verify.demo.processes import DemoFailed, open_demo_node, open_process, open_server
from tunnel.wire.invites import encode_invite

PATIENCE = 58.0
IDLER = (sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1")
"""It pays no attention to its stdin."""


async def test_a_process_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(DemoFailed, match=r"process of node ended early, with code 1:\n.*no_such"),
        flatten_subgroups=True,
    ):
        async with open_process("node", (sys.executable, "-m", "tunnel.no_such_module"), log=tmp_path / "log"):
            await trio.sleep(PATIENCE)


async def test_a_process_that_is_killed_is_reported_too(tmp_path: Path) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(DemoFailed, match="by signal 9"), flatten_subgroups=True):
        async with open_process("idler", IDLER, log=tmp_path / "log") as idler:
            idler.kill()
            await trio.sleep(PATIENCE)


async def test_a_process_that_ignores_its_stdin_is_terminated(tmp_path: Path) -> None:
    async with open_process("idler", IDLER, log=tmp_path / "log") as idler:
        pass
    assert idler.returncode == -signal.SIGTERM


async def test_a_node_process_refuses_an_unknown_order_and_goes_on(console: Any, tmp_path: Path) -> None:
    commands = process_commands()
    with trio.fail_after(PATIENCE):
        async with open_server(commands.server, tmp_path) as (url, pin):
            invite = encode_invite(new_invite(url, parse_pin(pin), "test", bytes(32)))
            async with open_demo_node(commands.node, "desk", invite, tmp_path, console) as desk:
                with pytest.raises(SettingsError, match="meet, greet"):
                    await desk.ask("dance")
                with pytest.raises(SettingsError, match="meet the peer first"):
                    await desk.ask("ping", count=1)
                assert (await desk.ask("cut"))["at"] <= time.time()
