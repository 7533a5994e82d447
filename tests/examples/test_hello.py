"""The example runs as it stands, against a real server process on loopback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import trio

from tunnel import NodeSettings, open_node
from tunnel.cli.demo_programs import open_server
from tunnel.cli.invites import make_invite
from tunnel.wire.invites import encode_invite

HELLO = Path(__file__).parents[2] / "examples" / "hello.py"
PATIENCE = 30.0


async def test_hello_reaches_a_peer_and_says_how(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with open_server(tmp_path) as (url, pin):
            invite = encode_invite(make_invite(url, pin, "examples"))
            file = tmp_path / "invite"
            file.write_text(f"{invite}\n")
            async with open_node(
                invite=invite, settings=NodeSettings(name="laptop", default_stun=False, port_mapping=False)
            ) as node:
                argv = [sys.executable, str(HELLO), str(file), "laptop"]
                async with trio.open_nursery() as nursery:
                    run = await nursery.start(_run, argv)
                    peer = await node.connect("hello")
                    assert await peer.receive_datagram() == b"hello"
                    await run.wait()
                    said = bytearray()
                    async for chunk in run.stdout:
                        said += chunk
    assert run.returncode == 0
    assert said.startswith(b"laptop is ")
    assert said.endswith(b" ms\n")


async def _run(argv: list[str], *, task_status: trio.TaskStatus[trio.Process]) -> None:
    await trio.run_process(argv, stdout=subprocess.PIPE, task_status=task_status)


def test_the_example_is_as_short_as_promised() -> None:
    """16 lines from the first import on, blank ones and docstrings apart."""
    lines = [line for line in HELLO.read_text().splitlines() if line.strip() and '"""' not in line]
    assert len(lines) <= 16


def test_what_goes_wrong_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "invite"
    file.write_text("p2pt1-damaged")
    ended = subprocess.run(
        [sys.executable, str(HELLO), str(file), "laptop"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("hello.py: ")
    assert ended.stderr.count("\n") == 1
