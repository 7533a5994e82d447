"""The client of the control socket: every way in which a node does not answer is an error that says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from tunnel.model.errors import MalformedFrame, Unreachable
from tunnel.node.control_client import ControlChannel, ask
from tunnel.verify.memory.internet import open_memory_internet


async def test_without_a_node_the_error_names_the_socket() -> None:
    async with open_memory_internet() as internet:
        controls = internet.add_host("desk", "26.0.0.1").world().controls
        with pytest.raises(Unreachable, match="no node answers at /nowhere"):
            await ask(controls, Path("/nowhere"), {"do": "status"})


async def test_a_silent_node_is_given_up_after_the_patience(autojump_clock: trio.testing.MockClock) -> None:
    ours, _theirs = trio.testing.memory_stream_pair()
    with pytest.raises(Unreachable, match="did not answer within 30 s"):
        await ControlChannel(ours).ask({"do": "status"})
    assert trio.current_time() == pytest.approx(30)


async def _hang_up(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    await stream.aclose()


async def test_a_node_that_goes_away_is_told() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_hang_up, theirs)
        with pytest.raises(Unreachable, match="closed the control connection"):
            await ControlChannel(ours).ask({"do": "status"})


@pytest.mark.parametrize("line", [b"{}\n", b'{"ok": true}\n', b'{"ok": false, "code": 3, "error": ""}\n', b"1\n"])
async def test_a_line_that_is_no_answer_is_malformed(line: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(line)
    with pytest.raises(MalformedFrame):
        await ControlChannel(ours).ask({"do": "status"})
