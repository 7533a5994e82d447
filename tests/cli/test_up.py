"""`up`: options become settings, a node runs, and a signal ends it."""

from __future__ import annotations

import errno
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trio

from tunnel.cli import launch
from tunnel.cli import up as up_module
from tunnel.cli.state_lock import NODE, holding
from tunnel.cli.up import UpOptions
from tunnel.crypto.network_keys import derive_network_keys
from tunnel.machines.notifier import Notifier
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, SettingsError
from tunnel.model.invite import Invite
from tunnel.model.offload import Offload
from tunnel.model.settings import DEFAULT_TUN, NodeSettings
from tunnel.wire.invites import encode_invite

if TYPE_CHECKING:
    from tests.cli.conftest import Machine

Command = Callable[..., Any]
SECRET = bytes(32)
HOME = Invite("wss://192.0.2.1:8443", None, "home", derive_network_keys("home", SECRET).network_id, SECRET)


def test_the_options_become_the_settings() -> None:
    options = UpOptions(
        name="desk",
        state=Path("/srv/a"),
        tun="p2p7",
        address="10.86.0.9",
        udp_port=4242,
        external="192.0.2.1:4242",
        no_survey=True,
        no_port_mapping=True,
        relay_only=True,
        stun=("stun.test:3478", "[2001:db8::1]:99"),
        no_default_stun=True,
        without_offload=("udp-gro", "tso"),
    )
    assert options.settings() == NodeSettings(
        name="desk",
        state=Path("/srv/a"),
        control=Path("/srv/a/control.sock"),
        tun="p2p7",
        address="10.86.0.9",
        udp_port=4242,
        external=Endpoint("192.0.2.1", 4242),
        survey=False,
        port_mapping=False,
        relay_only=True,
        stun=("stun.test:3478", "[2001:db8::1]:99"),
        default_stun=False,
        keep_datagrams=False,
        without_offloads=frozenset({Offload.UDP_GRO, Offload.TCP_SEGMENTATION}),
    )


def test_nothing_chosen_is_a_node_with_a_tun_and_all_servers() -> None:
    settings = UpOptions().settings()
    assert settings.name
    assert settings.tun == DEFAULT_TUN
    assert settings.survey
    assert settings.port_mapping
    assert settings.default_stun


def test_an_offload_that_there_is_not_is_an_error_that_names_all() -> None:
    with pytest.raises(
        SettingsError, match="no offload 'gso': it is one of tun-header, tso, uso, udp-segment, udp-gro"
    ):
        UpOptions(without_offload=("gso",)).settings()


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        (UpOptions(), "kernel namespace python"),
        (UpOptions(tun="p2p7"), "kernel"),
        (UpOptions(userspace=True), "namespace python"),
        (UpOptions(userspace="namespace"), "namespace"),
        (UpOptions(userspace="python"), "python"),
    ],
    ids=str,
)
def test_which_interfaces_are_tried(options: UpOptions, kinds: str) -> None:
    settings = options.settings()
    assert [kind.value for kind in settings.interfaces] == kinds.split()
    assert (settings.tun is None) is ("kernel" not in kinds)


@pytest.mark.parametrize(
    ("argv", "userspace"),
    [(("--userspace",), True), (("--userspace", "--no-udp"), True), (("--userspace=namespace",), "namespace")],
)
def test_userspace_may_name_a_kind(
    argv: Sequence[str], userspace: object, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[UpOptions] = []

    def take(options: UpOptions) -> NoReturn:
        seen.append(options)
        raise SettingsError("far enough")

    monkeypatch.setattr(UpOptions, "settings", take)
    assert command("up", *argv).err == "p2ptunnel-trio: far enough\n"
    assert [options.userspace for options in seen] == [userspace]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (UpOptions(tun="p2p7", userspace=True), "--userspace"),
        (UpOptions(udp_port=65536), "--udp-port"),
        (UpOptions(udp_port=-1), "--udp-port"),
        (UpOptions(external="router:1"), "--external 'router:1'"),
        (UpOptions(external="0.0.0.0:1"), "--external"),
        (UpOptions(external="192.0.2.1:0"), "--external"),
        (UpOptions(address="10.86.0.300"), "--address"),
        (UpOptions(address="fd00::1"), "--address"),
        (UpOptions(name=""), "--name"),
        (UpOptions(name="x" * 64), "--name"),
        (UpOptions(name="a\x1b[2J"), "--name"),
        (UpOptions(name=" desk"), "--name"),
        (UpOptions(tun="sixteen-letters-"), "--tun"),
        (UpOptions(tun="a/b"), "--tun"),
        (UpOptions(tun=".."), "--tun"),
        (UpOptions(stun=("stun.test:port",)), "--stun 'stun.test:port'"),
        (UpOptions(stun=("nohost",)), "--stun 'nohost'"),
        (UpOptions(stun=("stun.test:0",)), "--stun"),
        (UpOptions(stun=("a b:1",)), "--stun"),
        (UpOptions(stun=("stun://stun.test:1",)), "--stun"),
        (UpOptions(no_udp=True, udp_port=4242), "--udp-port is of no use to a node that was told to use no UDP"),
        (UpOptions(no_udp=True, external="192.0.2.1:4242"), "--external is of no use"),
        (UpOptions(no_udp=True, stun=("stun.test:1",)), "--stun is of no use"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_option_is_named(options: UpOptions, word: str) -> None:
    with pytest.raises(SettingsError) as caught:
        options.settings()
    assert word in str(caught.value)


@pytest.mark.parametrize(("argv", "is_warned"), [([], True), (["--udp-port", "4242"], False)], ids=str)
def test_a_declared_endpoint_without_a_port_of_our_own_is_warned_of(
    nodes: Nodes,
    machine: Machine,
    command: Command,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    argv: list[str],
    is_warned: bool,
) -> None:
    machine.world(tmp_path).store.write("invite", encode_invite(HOME).encode())
    command("up", "--state", str(tmp_path), "--userspace", "--external", "192.0.2.1:4242", *argv)
    assert ("add --udp-port" in caplog.text) is is_warned


@dataclass
class Listener:
    """A control socket to which nobody connects."""

    local: Endpoint = Endpoint("127.0.0.1", 1)
    is_closed: bool = False

    async def accept(self) -> Any:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.lowlevel.checkpoint()


async def no_changes() -> AsyncIterator[Any]:
    await trio.sleep_forever()
    yield


@dataclass
class Nodes:
    """Nodes that run until the process is told to stop, which is at once."""

    trouble: Exception | None = None
    opened: list[tuple[Invite, NodeSettings]] = field(default_factory=list)
    listened: list[Path] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)
    left: int = 0

    @asynccontextmanager
    async def open(self, invite: Invite, settings: NodeSettings, world: Any) -> AsyncIterator[Any]:
        if self.trouble is not None:
            raise self.trouble
        self.opened.append((invite, settings))
        signal.raise_signal(signal.SIGTERM)
        try:
            yield SimpleNamespace(
                name=settings.name,
                id="deskid",
                watch=no_changes,
                wait_registered=trio.sleep_forever,
                status=lambda: SimpleNamespace(notes=()),
                program=SimpleNamespace(notifier=Notifier()),
            )
        finally:
            self.left += 1

    async def open_listener(self, path: Path) -> Listener:
        await trio.lowlevel.checkpoint()
        self.listened.append(path)
        self.listeners.append(Listener())
        return self.listeners[-1]


@pytest.fixture
def nodes(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    made = Nodes()
    monkeypatch.setattr(launch, "node_here", made.open)
    monkeypatch.setattr(type(machine), "open_listener", lambda _, path: made.open_listener(path), raising=False)
    monkeypatch.setattr(up_module, "start_logging", lambda *_, **__: None)
    return made


def test_up_runs_a_node_with_the_kept_invite_until_sigterm(
    nodes: Nodes, machine: Machine, command: Command, tmp_path: Path
) -> None:
    machine.world(tmp_path).store.write("invite", encode_invite(HOME).encode() + b"\n")
    ended = command("up", "--name", "desk", "--state", str(tmp_path), "--userspace")
    assert ended.code == 0
    assert nodes.listened == [tmp_path / "control.sock"]
    assert nodes.opened == [(HOME, UpOptions(name="desk", state=tmp_path, userspace=True).settings())]
    assert nodes.left == 1


def test_a_second_node_on_one_state_folder_learns_of_the_first(
    nodes: Nodes, machine: Machine, command: Command, tmp_path: Path
) -> None:
    """With another --control it ran: two processes with one key, each of which took the other's place."""
    machine.world(tmp_path).store.write("invite", encode_invite(HOME).encode())
    with holding(tmp_path, NODE, who="", remedy=""):
        ended = command("up", "--state", str(tmp_path), "--control", str(tmp_path / "other.sock"), "--userspace")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert f"a node runs on the state folder {tmp_path} already" in ended.err
    assert f"`p2ptunnel-trio down --state {tmp_path}`" in ended.err
    assert not nodes.opened


def test_up_takes_an_invite_from_a_file(nodes: Nodes, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "invite.txt"
    file.write_text(encode_invite(HOME))
    control = tmp_path / "run" / "c.sock"
    argv = ["--invite-file", str(file), "--control", str(control), "--state", str(tmp_path / "s"), "--userspace"]
    assert command("up", *argv).code == 0
    assert nodes.opened[0][0] == HOME
    assert nodes.listened == [control]


def test_without_an_invite_nothing_starts(nodes: Nodes, command: Command, tmp_path: Path) -> None:
    ended = command("up", "--state", str(tmp_path), "--userspace")
    assert ended.code == 2
    assert "p2ptunnel-trio join" in ended.err
    assert not nodes.opened


def test_a_device_that_cannot_be_had_is_one_line_with_the_remedy(
    nodes: Nodes, machine: Machine, command: Command, tmp_path: Path
) -> None:
    machine.world(tmp_path).store.write("invite", encode_invite(HOME).encode())
    nodes.trouble = ExceptionGroup("", [DeviceError("no privilege for a TUN: use --userspace")])
    ended = command("up", "--state", str(tmp_path))
    assert (ended.code, ended.err) == (1, "p2ptunnel-trio: no privilege for a TUN: use --userspace\n")
    assert [listener.is_closed for listener in nodes.listeners] == [True]


def test_a_taken_udp_port_names_its_option(nodes: Nodes, machine: Machine, command: Command, tmp_path: Path) -> None:
    machine.world(tmp_path).store.write("invite", encode_invite(HOME).encode())
    nodes.trouble = DeviceError("UDP 0.0.0.0:53 cannot be used: taken")
    nodes.trouble.__cause__ = OSError(errno.EADDRINUSE, "taken")
    ended = command("up", "--state", str(tmp_path), "--userspace", "--udp-port", "53")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "choose another port with --udp-port" in ended.err


def test_the_control_socket_is_closed_when_the_node_ends(
    nodes: Nodes, machine: Machine, command: Command, tmp_path: Path
) -> None:
    """Or its file stays behind, and looks like a node that does not answer."""
    machine.world(tmp_path).store.write("invite", encode_invite(HOME).encode())
    assert command("up", "--state", str(tmp_path), "--userspace").code == 0
    assert [listener.is_closed for listener in nodes.listeners] == [True]
