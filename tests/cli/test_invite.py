"""Invites: checked before anything is kept, read however they come, never shown where they do not belong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tunnel.crypto.network_keys import derive_network_keys
from tunnel.model.invite import Invite
from tunnel.network.ports import Sighting
from tunnel.wire.invites import decode_invite, encode_invite

if TYPE_CHECKING:
    from tests.cli.conftest import Machine

Command = Callable[..., Any]
SECRET = bytes(range(32))
HOME = Invite("wss://192.0.2.1:8443", bytes(32), "home", derive_network_keys("home", SECRET).network_id, SECRET)
TEXT = encode_invite(HOME)
PIN = "sha256:" + "A" * 43 + "="


def test_invite_makes_a_network_and_prints_its_invite_alone(machine: Machine, command: Command) -> None:
    ended = command("invite", "--server", "wss://192.0.2.1:8443", "--pin", PIN, "--network", "home")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("\n") == 1
    made = decode_invite(ended.out)
    assert (made.server, made.pin, made.network) == ("wss://192.0.2.1:8443", bytes(32), "home")
    assert made.secret == b"\x07" * 32
    assert made.network_id == derive_network_keys("home", made.secret).network_id


def test_without_a_pin_the_certificate_authorities_are_asked(machine: Machine, command: Command) -> None:
    assert decode_invite(command("invite", "--server", "wss://tunnel.example.org").out).pin is None


@pytest.mark.parametrize(
    "argv",
    [
        ["--server", "http://192.0.2.1"],
        ["--server", "wss://192.0.2.1:8443", "--pin", "sha256:short"],
        ["--server", "wss://192.0.2.1:8443", "--pin", "md5:" + "A" * 43 + "="],
        ["--server", "wss://192.0.2.1:8443", "--network", ""],
        ["--server", "wss://192.0.2.1:8443", "--network", "x" * 1000],
        ["--server", "wss://192.0.2.1:8443", "--state", "/tmp/s"],
        ["--pin", PIN],
        ["--network", "home"],
    ],
    ids=" ".join,
)
def test_contradicting_options_are_a_usage_error(machine: Machine, command: Command, argv: list[str]) -> None:
    ended = command("invite", *[word[:200] for word in argv])
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "[0:0::0]"])
def test_a_wildcard_address_is_not_one_to_dial(machine: Machine, command: Command, host: str) -> None:
    """The ready line of a server that listens everywhere says so, and is at hand to be copied."""
    ended = command("invite", "--server", f"wss://{host}:8443", "--pin", PIN)
    assert (ended.code, ended.out) == (2, "")
    assert "give the address under which the others reach the server" in ended.err


@pytest.mark.parametrize("pin", [[], ["--pin", PIN]], ids=["", "pin"])
def test_an_invite_without_tls_would_never_work(machine: Machine, command: Command, pin: list[str]) -> None:
    ended = command("invite", "--server", "ws://192.0.2.1:8443", *pin)
    assert (ended.code, ended.out) == (2, "")
    assert "write wss://" in ended.err


@pytest.mark.parametrize("server", ["http://192.0.2.1", "192.0.2.1:8443", "ws://192.0.2.1:8443"])
def test_only_what_is_accepted_is_suggested(machine: Machine, command: Command, server: str) -> None:
    said = command("invite", "--server", server).err
    assert "write wss://" in said
    assert "ws://" not in said.replace("wss://", "").replace(server, "")


def test_invite_shows_the_network_that_this_node_is_in(machine: Machine, command: Command, tmp_path: Path) -> None:
    machine.world(tmp_path).store.write("invite", TEXT.encode())
    assert command("invite", "--state", str(tmp_path)).out == TEXT + "\n"


def test_the_invite_of_another_users_node_is_not_looked_for_in_vain(
    machine: Machine, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    machine.seen = (Sighting(Path("/run/p2ptunnel-trio/control.sock"), "root", False),)
    ended = command("invite")
    assert ended.code == 2
    assert "`sudo p2ptunnel-trio invite` prints that of root's node" in ended.err
    assert "sudo" not in command("invite", "--state", str(tmp_path)).err, "which node is meant was said"


def test_without_a_network_invite_names_the_remedy(machine: Machine, command: Command, tmp_path: Path) -> None:
    ended = command("invite", "--state", str(tmp_path))
    assert ended.code == 2
    assert "p2ptunnel-trio join" in ended.err
    assert "or make a network: `p2ptunnel-trio invite --server wss://HOST:8443 --pin" in ended.err
