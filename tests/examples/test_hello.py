"""The example runs as it stands, against a real server process on loopback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tunnel import NodeSettings, open_node
from tunnel.cli.demo import process_commands
from tunnel.cli.invite import make_invite
from tunnel.verify.demo.processes import open_server
from tunnel.wire.invites import encode_invite

HELLO = Path(__file__).parents[2] / "examples" / "hello.py"
PATIENCE = 30.0


async def test_hello_reaches_a_peer_and_says_how(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with open_server(process_commands().server, tmp_path) as (url, pin):
            invite = encode_invite(make_invite(url, pin, "examples"))
            file = tmp_path / "invite"
            file.write_text(f"{invite}\n")
            async with open_node(
                invite=invite, settings=NodeSettings(name="laptop", default_stun=False, port_mapping=False)
            ) as node:
                argv = [sys.executable, str(HELLO), str(file), "laptop"]
                for _ in range(2):
                    ended = await trio.run_process(argv, capture_stdout=True, cwd=tmp_path)
                    assert ended.stdout.startswith((b"laptop is direct and", b"laptop is relayed and"))
                    assert ended.stdout.endswith(b" ms\n")
                    peer, said = await node.receive_datagram()
                    assert (peer.name, said) == ("hello", b"hello")
                assert len(node.status().peers) == 1, "the second run is the same node, not another of its name"


def test_the_example_is_as_short_as_promised() -> None:
    """20 lines from the first import on, blank ones and docstrings apart."""
    lines = [line for line in HELLO.read_text().splitlines() if line.strip() and '"""' not in line]
    assert len(lines) <= 20


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "usage: python hello.py INVITE_FILE PEER"),
        (["missing", "laptop"], "hello.py: [Errno 2] No such file or directory: 'missing'"),
        (["damaged", "laptop"], "hello.py: "),
    ],
    ids=["no arguments", "no file", "no invite"],
)
def test_what_goes_wrong_is_one_line(tmp_path: Path, argv: list[str], words: str) -> None:
    (tmp_path / "damaged").write_text("p2pt1-damaged")
    ended = subprocess.run(
        [sys.executable, str(HELLO), *argv], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(words)
    assert ended.stderr.count("\n") == 1
