"""Wrong usage is one line in our own words: what is wrong, what is near it, and which help to ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["upp"], ["unknown command 'upp'", "'up'"]),
        (["zzz"], ["unknown command 'zzz'; see `p2ptunnel-trio --help`"]),
        (["--foo"], ["unknown option --foo; see `p2ptunnel-trio --help`"]),
        (["--hepl"], ["unknown option --hepl: the nearest known one is --help"]),
        (["up", "--nmae", "x"], ["unknown option --nmae", "--name"]),
        (["up", "--nmae=x"], ["unknown option --nmae:", "--name"]),
        (["up", "--zzz"], ["unknown option --zzz; see `p2ptunnel-trio up --help`"]),
        (["netcheck", "--stun", "x"], ["unknown option --stun; see `p2ptunnel-trio netcheck --help`"]),
        (["up", "--no-udp-relay"], ["unknown option --no-udp-relay; see `p2ptunnel-trio up --help`"]),
        (["status", "--jsn"], ["unknown option --jsn", "--json"]),
        (["up", "--udp-port", "many"], ["--udp-port 'many' is not a whole number; see `p2ptunnel-trio up --help`"]),
        (["up", "--udp-port"], ["--udp-port needs a value; see `p2ptunnel-trio up --help`"]),
        (["up", "--name", "a", "--name", "b"], ["--name is given more than once"]),
        (["chart", "peer_connection", "--format", "svg"], ["--format 'svg' is not one of mermaid, scxml, table"]),
        (["chart", "zzz"], ["no chart is called 'zzz': known ones are announcement"]),
        (["why"], ["PEER is missing; see `p2ptunnel-trio why --help`"]),
        (["ping", "one", "two"], ["unexpected argument 'two'; see `p2ptunnel-trio ping --help`"]),
        (["ping", "one", "--interval", "soon"], ["--interval 'soon' is not a number"]),
        (["up", "stray"], ["unexpected argument 'stray'"]),
        (["server", "--listen", "nonsense:port"], ["--listen 'nonsense:port'"]),
        (["server", "--udp", "nonsense:port"], ["--udp 'nonsense:port'"]),
        (["server", "--also-listen", "nonsense:port"], ["--also-listen 'nonsense:port'"]),
        (["server", "--http", "nonsense:port"], ["--http 'nonsense:port'"]),
        (["up", "--log-level", "loud"], ["--log-level 'loud' is not one of debug, info, warning, error"]),
        (["status", "--json=maybe"], ["--json 'maybe' is not true or false"]),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2_and_one_line_that_helps(command: Command, argv: list[str], words: list[str]) -> None:
    ended = command(*argv)
    assert ended.code == 2
    assert all(word in ended.err for word in words)
    assert ended.err.startswith("p2ptunnel-trio: ")
    assert ended.err.count("\n") == 1
    assert ended.out == ""


@pytest.mark.parametrize(
    "argv", [["join", "p2pt1-AAAA"], ["up", "--invite", "p2pt1-AAAA"], ["up", "--invite=p2pt1-AAAA"], ["p2pt1-AAAA"]]
)
def test_an_invite_on_the_command_line_is_refused_and_not_repeated(command: Command, argv: list[str]) -> None:
    """Everybody on the machine can read the command line with `ps`."""
    ended = command(*argv)
    assert ended.code == 2
    assert "AAAA" not in ended.err
    assert ("unknown option" in ended.err) is any(word.startswith("-") for word in argv)
    assert ("give it to `p2ptunnel-trio join` with --invite-file or on stdin" in ended.err) is (
        "unknown option" not in ended.err
    )
