"""Where no node of this user answers, the one that runs is named with the way to ask it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tunnel.cli.default_paths import ROOTS_CONTROL
from tunnel.cli.local_node import no_node
from tunnel.network.ports import Sighting

if TYPE_CHECKING:
    from tests.cli.conftest import Machine

Command = Callable[..., Any]
OWN = Path("/home/u/.local/state/p2ptunnel-trio/control.sock")
ROOTS = Sighting(ROOTS_CONTROL, "root", False)
ALICES = Sighting(Path("/home/alice/.local/state/p2ptunnel-trio/control.sock"), "alice", False)
ELSEWHERE = Sighting(Path("/srv/a/control.sock"), "u", True)


@pytest.mark.parametrize(
    ("path", "sightings", "words"),
    [
        (OWN, [ROOTS], "a node of root runs on this machine: ask it with `sudo p2ptunnel-trio why desk`"),
        (OWN, [ALICES], f"`sudo -u alice p2ptunnel-trio why desk --control {ALICES.path}`"),
        (OWN, [ELSEWHERE], "the node that runs here is asked with --control /srv/a/control.sock"),
        (OWN, [ROOTS, ELSEWHERE], "--control /srv/a/control.sock"),
        (ROOTS_CONTROL, [ROOTS], "is not yours: ask it with `sudo p2ptunnel-trio why desk`"),
        (OWN, [], "start one with `p2ptunnel-trio up`"),
    ],
)
def test_the_node_that_runs_is_named(path: Path, sightings: list[Sighting], words: str) -> None:
    told = no_node(path, sightings, "why desk")
    assert words in told
    assert ("p2ptunnel-trio up" in told) is (not sightings)


@pytest.mark.parametrize(
    ("argv", "typed"),
    [(["status"], "status"), (["why", "x"], "why x"), (["ping", "x"], "ping x"), (["netcheck"], "netcheck")],
)
def test_each_command_says_how_root_runs_it(machine: Machine, command: Command, argv: list[str], typed: str) -> None:
    machine.seen = (ROOTS,)
    ended = command(*argv)
    assert ended.code == 1
    assert f"`sudo p2ptunnel-trio {typed}`" in ended.err
    assert "p2ptunnel-trio up" not in ended.err


def test_down_without_a_node_does_not_suggest_to_start_one(machine: Machine, command: Command) -> None:
    ended = command("down")
    assert ended.code == 1
    assert "so there is none to end" in ended.err
    assert "p2ptunnel-trio up" not in ended.err


def test_a_socket_that_may_not_be_opened_is_somebody_elses(machine: Machine, command: Command) -> None:
    """In another network namespace nobody sees it listed."""
    machine.refusal = PermissionError(13, "Permission denied")
    ended = command("status", "--control", "/srv/b.sock")
    assert "the node at /srv/b.sock is not yours: ask it with `sudo p2ptunnel-trio status --control /srv/b.sock`" in (
        ended.err
    )


@pytest.mark.parametrize("argv", [["status"], ["why", "x"], ["ping", "x"], ["netcheck"]], ids=lambda argv: argv[0])
def test_a_state_folder_leads_to_the_socket_in_it(machine: Machine, command: Command, argv: list[str]) -> None:
    """As it does for `up`."""
    command(*argv, "--state", "/srv/a")
    command(*argv, "--state", "/srv/a", "--control", "/srv/b.sock")
    assert machine.sockets == [Path("/srv/a/control.sock"), Path("/srv/b.sock")]


@pytest.mark.parametrize("argv", [["status"], ["why", "x"], ["ping", "x"], ["netcheck"], ["status", "--watch"]])
def test_without_a_node_the_remedy_is_named(machine: Machine, command: Command, argv: list[str]) -> None:
    ended = command(*argv, "--control", "/nowhere/c.sock")
    assert ended.code == 1
    assert "no node answers at /nowhere/c.sock" in ended.err
    assert machine.sockets == [Path("/nowhere/c.sock")]
