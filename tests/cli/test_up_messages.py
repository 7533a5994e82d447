"""The log of `up` says in words what a person wants to know, once for each change."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio.testing

from tunnel.cli.up_messages import name_of, report_notes, report_peers, report_up
from tunnel.machines.notifier import Notifier
from tunnel.model.identity import NodeId
from tunnel.model.interface_kind import InterfaceKind, InterfaceStatus
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.status import PathStatus, PeerStatus
from tunnel.model.way import PathKind

RELAY = PathStatus(PathKind.RELAY_WEBSOCKET, None, None, 1400, None)
DIRECT = PathStatus(PathKind.DIRECT, None, None, 1400, None)
LOST = Reason(ReasonCode.PATH_LOST)
OFFLINE = Reason(ReasonCode.PEER_OFFLINE)


def change(state: str, path: PathStatus | None, reason: Reason | None = None, name: str = "laptop") -> Any:
    return SimpleNamespace(peer=PeerStatus("laptopid", name, (), state, path, reason, 0.0, 0, 0, ()))


async def told_of(caplog: pytest.LogCaptureFixture, *changes: Any) -> list[str]:
    async def watch() -> AsyncIterator[Any]:
        for one in changes:
            yield one

    with caplog.at_level(logging.INFO, "tunnel.cli.up_messages"):
        await report_peers(SimpleNamespace(watch=watch))  # type: ignore[arg-type]
    assert {vars(record)["peer"] for record in caplog.records} <= {"laptopid"}
    return caplog.messages


async def test_what_became_of_a_peer_is_logged_and_the_attempts_are_not(caplog: pytest.LogCaptureFixture) -> None:
    assert await told_of(
        caplog,
        change("requested", None),
        change("punching", RELAY),
        change("connected", DIRECT),
        change("punching", RELAY, LOST),
        change("relayed", RELAY, LOST),
        change("punching", RELAY, LOST),
        change("relayed", RELAY, LOST),
        change("announced", None, OFFLINE),
        change("announced", None),
    ) == ["laptop is direct", "laptop is relayed: path lost", "laptop is offline"]


async def test_a_peer_without_a_name_is_logged_by_its_id(caplog: pytest.LogCaptureFixture) -> None:
    assert await told_of(caplog, change("relayed", RELAY, name="")) == ["a peer is relayed"]


IPV6 = "fd9a::7"


class StartingNode:
    """A node that the server knows after so many seconds, and that has an IPv4 address from then on."""

    name, id = "desk", "deskid"

    def __init__(self, takes: float, *, takes_ip: bool = True, kind: InterfaceKind = InterfaceKind.KERNEL) -> None:
        self._takes = takes
        self._kind = kind
        self._takes_ip = takes_ip
        self.addresses: tuple[str, ...] = (IPV6,)

    def status(self) -> Any:
        return SimpleNamespace(takes_ip=self._takes_ip, interface=InterfaceStatus(self._kind, "p2pt0"))

    async def wait_registered(self) -> None:
        await trio.sleep(self._takes - trio.current_time())
        self.addresses = ("10.86.0.1", IPV6)


async def start(node: Any) -> None:
    await report_up(node, "home", Path("/srv/c.sock"))


async def test_the_first_line_has_name_addresses_and_whether_the_server_is_reached(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], autojump_clock: trio.testing.MockClock
) -> None:
    with caplog.at_level(logging.INFO, "tunnel.cli.up_messages"):
        await start(StartingNode(0.5))
    assert caplog.messages == ["node is up"]
    facts = vars(caplog.records[0])
    told = [facts[key] for key in ("node", "id", "network", "server", "addresses")]
    assert told == ["desk", "deskid", "home", "reached", f"10.86.0.1 {IPV6}"]
    assert capsys.readouterr().out == f"desk is up in network home: 10.86.0.1, {IPV6}\n"


async def test_a_node_without_an_interface_says_that_ip_does_not_reach_it(
    capsys: pytest.CaptureFixture[str], autojump_clock: trio.testing.MockClock
) -> None:
    await start(StartingNode(0.5, takes_ip=False))
    assert capsys.readouterr().out == f"desk is up in network home: 10.86.0.1, {IPV6} (no interface, so no IP)\n"


async def test_a_node_in_a_namespace_says_so(
    capsys: pytest.CaptureFixture[str], autojump_clock: trio.testing.MockClock
) -> None:
    await start(StartingNode(0.5, kind=InterfaceKind.NAMESPACE))
    told = f"10.86.0.1, {IPV6} (in a network namespace of its own)"
    assert capsys.readouterr().out == f"desk is up in network home: {told}\n"


async def test_without_the_server_the_address_that_it_leases_comes_later(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        with caplog.at_level(logging.INFO, "tunnel.cli.up_messages"):
            nursery.start_soon(start, StartingNode(60.0))
            await trio.sleep(3)
        assert vars(caplog.records[0])["server"] == "not reached yet"
        assert capsys.readouterr().out == (
            f"desk is up in network home: {IPV6} (server not reached yet: an IPv4 address comes with it)\n"
        )
    assert capsys.readouterr().out == f"desk is up in network home: 10.86.0.1, {IPV6}\n"


async def test_an_address_that_is_kept_does_not_pass_for_a_server_that_is_reached(
    capsys: pytest.CaptureFixture[str], autojump_clock: trio.testing.MockClock
) -> None:
    node = StartingNode(60.0)
    node.addresses = ("10.86.0.1", IPV6)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(start, node)
        await trio.sleep(3)
        assert capsys.readouterr().out == f"desk is up in network home: 10.86.0.1, {IPV6} (server not reached yet)\n"
    assert capsys.readouterr().out == f"desk is up in network home: 10.86.0.1, {IPV6}\n"


async def test_a_closed_pipe_ends_no_node(tmp_path: Path) -> None:
    """`up | head -0`: nor is its exit code that of a failure."""
    code = (
        "import os, sys, trio; from pathlib import Path; from types import SimpleNamespace\n"
        "from tunnel.cli.up_messages import report_up\n"
        "reading, writing = os.pipe(); os.dup2(writing, 1); os.close(writing); os.close(reading)\n"
        "registered = trio.lowlevel.checkpoint\n"
        "node = SimpleNamespace(name='desk', id='x', addresses=('fd9a::7',), wait_registered=registered)\n"
        "from tunnel.model.interface_kind import InterfaceKind, InterfaceStatus\n"
        "interface = InterfaceStatus(InterfaceKind.KERNEL, 'p2pt0')\n"
        "node.status = lambda: SimpleNamespace(takes_ip=True, interface=interface)\n"
        "trio.run(report_up, node, 'home', Path('c.sock')); sys.stdout.flush()\n"
    )
    ended = await trio.run_process([sys.executable, "-c", code], capture_stderr=True, cwd=tmp_path, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


class NotingNode:
    """A node with notes, and a notifier that a test notifies."""

    def __init__(self) -> None:
        self.notes: tuple[str, ...] = ()
        self.program = SimpleNamespace(notifier=Notifier())

    def status(self) -> Any:
        return SimpleNamespace(notes=self.notes)

    async def note(self, *notes: str) -> None:
        self.notes = notes
        self.program.notifier.notify()
        await trio.sleep(2)


TWIN = "'desk' is this node; another node calls itself that, too"


async def test_a_note_is_warned_of_when_it_is_new(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """Two nodes of one name: the user of the second reads it in the log of `up`."""
    node: Any = NotingNode()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(report_notes, node)
        await trio.sleep(1)
        await node.note(TWIN)
        await node.note(TWIN, "other")
        await node.note("other")
        await node.note(TWIN, "other")
        nursery.cancel_scope.cancel()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", TWIN),
        ("WARNING", "other"),
        ("WARNING", TWIN),
    ]


async def test_members_that_cause_notes_do_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    node: Any = NotingNode()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(report_notes, node)
        for number in range(300):
            await node.note(*(f"{number}.{which}" for which in range(20)))
        nursery.cancel_scope.cancel()
    assert 8 <= len(caplog.records) <= 8 + 10


@pytest.mark.parametrize(("peer", "name"), [("a" * 26, "laptop"), ("b" * 26, ""), ("no id", "")])
def test_a_peer_is_named_by_its_id(peer: str, name: str) -> None:
    known = {NodeId.parse("a" * 26): SimpleNamespace(name="laptop")}
    node: Any = SimpleNamespace(program=SimpleNamespace(peer_table=SimpleNamespace(at=known.get)))
    assert name_of(node, peer) == name
