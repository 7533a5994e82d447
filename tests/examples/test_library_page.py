"""The example of docs/library.md is complete: it runs as it is printed there, against a real server process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import trio

from tunnel import NodeSettings, open_node
from tunnel.cli.demo_programs import open_server
from tunnel.cli.invites import make_invite
from tunnel.wire.invites import encode_invite

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
PATIENCE = 30.0


async def test_the_example_of_the_page_asks_and_is_answered_as_the_same_node_each_time(tmp_path: Path) -> None:
    program, invite_file = tmp_path / "ask.py", tmp_path / "invite"
    program.write_text(BLOCKS[0])
    with trio.fail_after(PATIENCE):
        async with open_server(tmp_path) as (url, pin):
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


def test_every_piece_of_the_page_is_python() -> None:
    for block in BLOCKS:
        compile("async def page():\n" + re.sub("^", "    ", block, flags=re.M), str(PAGE), "exec")


def test_the_example_is_as_short_as_promised() -> None:
    lines = [line for line in BLOCKS[0].splitlines() if line.strip() and '"""' not in line]
    assert len(lines) <= 15
