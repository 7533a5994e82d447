"""The example of docs/library.md is complete: it runs as it is printed there, against a real server process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import trio

from tunnel import NodeSettings, open_node
from tunnel.cli.demo import process_commands
from tunnel.cli.invite import make_invite
from tunnel.verify.demo.processes import open_server
from tunnel.wire.invites import encode_invite

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
PATIENCE = 30.0


async def test_the_example_of_the_page_asks_and_is_answered_as_the_same_node_each_time(tmp_path: Path) -> None:
    program, invite_file = tmp_path / "ask.py", tmp_path / "invite"
    program.write_text(BLOCKS[0])
    with trio.fail_after(PATIENCE):
        async with open_server(process_commands().server, tmp_path) as (url, pin):
            invite = encode_invite(make_invite(url, pin, "examples"))
            invite_file.write_text(invite)
            async with open_node(
                invite=invite, settings=NodeSettings(name="clock", default_stun=False, port_mapping=False)
            ) as node:
                askers = set()
                for _ in range(2):
                    async with trio.open_nursery() as nursery:
                        run = await nursery.start(
                            _run, [sys.executable, str(program), str(invite_file), "clock"], tmp_path
                        )
                        peer = await node.connect("asker")
                        assert await peer.receive_datagram() == b"what time is it?"
                        await peer.send_datagram(b"noon")
                        await run.wait()
                        said = bytearray()
                        async for chunk in run.stdout:
                            said += chunk
                    assert (run.returncode, bytes(said)) == (0, b"clock says noon\n")
                    askers.add(peer.id)
                assert len(askers) == 1


async def _run(argv: list[str], folder: Path, *, task_status: trio.TaskStatus[trio.Process]) -> None:
    await trio.run_process(argv, stdout=subprocess.PIPE, cwd=folder, task_status=task_status)


async def test_the_two_halves_of_the_page_answer_each_other(tmp_path: Path) -> None:
    ask, clock, invite_file = tmp_path / "ask.py", tmp_path / "clock.py", tmp_path / "invite"
    ask.write_text(BLOCKS[0])
    clock.write_text(BLOCKS[1])
    with trio.fail_after(PATIENCE):
        async with open_server(process_commands().server, tmp_path) as (url, pin):
            invite_file.write_text(encode_invite(make_invite(url, pin, "examples")))
            async with trio.open_nursery() as nursery:
                await nursery.start(_run, [sys.executable, str(clock), str(invite_file)], tmp_path)
                asked = await trio.run_process(
                    [sys.executable, str(ask), str(invite_file), "clock"], capture_stdout=True, cwd=tmp_path
                )
                nursery.cancel_scope.cancel()
    assert re.fullmatch(rb"clock says \d\d:\d\d\n", asked.stdout)


async def test_the_example_says_so_when_nobody_answers(tmp_path: Path) -> None:
    """As a peer that is `up` does not."""
    program, invite_file = tmp_path / "ask.py", tmp_path / "invite"
    program.write_text(BLOCKS[0].replace("move_on_after(5)", "move_on_after(0.2)"))
    with trio.fail_after(PATIENCE):
        async with open_server(process_commands().server, tmp_path) as (url, pin):
            invite = encode_invite(make_invite(url, pin, "examples"))
            invite_file.write_text(invite)
            settings = NodeSettings(name="mute", default_stun=False, port_mapping=False)
            async with open_node(invite=invite, settings=settings):
                asked = await trio.run_process(
                    [sys.executable, str(program), str(invite_file), "mute"], capture_stdout=True, cwd=tmp_path
                )
    assert asked.stdout == b"no answer: does mute run clock.py?\n"


def test_every_piece_of_the_page_is_python() -> None:
    for block in BLOCKS:
        compile("async def page():\n" + re.sub("^", "    ", block, flags=re.M), str(PAGE), "exec")


def test_the_example_is_as_short_as_promised() -> None:
    lines = [line for line in BLOCKS[0].splitlines() if line.strip() and '"""' not in line]
    assert len(lines) <= 17
