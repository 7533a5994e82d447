"""`join` and `leave`: no invite, which may hold the only copy of a secret, is lost unasked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.conftest import type_in

from tunnel.cli.state_lock import NODE, holding
from tunnel.crypto.network_keys import derive_network_keys
from tunnel.model.invite import Invite
from tunnel.wire.invites import encode_invite

if TYPE_CHECKING:
    from tests.cli.conftest import Machine

Command = Callable[..., Any]
SECRET = bytes(range(32))
HOME = Invite("wss://192.0.2.1:8443", bytes(32), "home", derive_network_keys("home", SECRET).network_id, SECRET)
TEXT = encode_invite(HOME)
OLD = Invite(HOME.server, None, "old", derive_network_keys("old", SECRET).network_id, SECRET)
OLD_TEXT = encode_invite(OLD)


@pytest.fixture
def invite_file(tmp_path: Path) -> Path:
    file = tmp_path / "invite.txt"
    file.write_text(TEXT)
    return file


def test_a_kept_invite_is_not_dropped_unasked(
    machine: Machine, command: Command, tmp_path: Path, invite_file: Path
) -> None:
    """It may have been the only copy of its network's secret."""
    store = machine.world(tmp_path).store
    store.write("invite", OLD_TEXT.encode())
    ended = command("join", "--state", str(tmp_path), "--invite-file", str(invite_file))
    assert (ended.code, ended.out) == (2, "")
    assert "this node is in network old already" in ended.err
    assert "add --replace" in ended.err
    assert store.files == {"invite": OLD_TEXT.encode()}


@pytest.mark.parametrize("way", ["asked", "option"])
def test_with_consent_it_is_kept_aside(
    machine: Machine,
    command: Command,
    tmp_path: Path,
    invite_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    store = machine.world(tmp_path).store
    store.write("invite", OLD_TEXT.encode())
    store.write("lease", b"10.86.0.7/16 1.0")
    type_in(monkeypatch, "y\n" if way == "asked" else "")
    options = ["--replace"] if way == "option" else []
    ended = command("join", "--state", str(tmp_path), "--invite-file", str(invite_file), *options)
    aside = f"invite.{OLD.network_id}"
    assert ended.code == 0
    assert f"left network old; its invite is kept as {tmp_path / aside}" in ended.out
    assert store.files == {aside: OLD_TEXT.encode(), "invite": TEXT.encode() + b"\n"}


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_a_user_who_says_no_loses_nothing(
    machine: Machine,
    command: Command,
    tmp_path: Path,
    invite_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:
    store = machine.world(tmp_path).store
    store.write("invite", OLD_TEXT.encode())
    type_in(monkeypatch, answer)
    ended = command("join", "--state", str(tmp_path), "--invite-file", str(invite_file))
    assert ended.code == 1
    assert "Go on? [y/N]" in ended.err
    assert ended.err.endswith("nothing was changed\n")
    assert store.files == {"invite": OLD_TEXT.encode()}


def test_a_new_invite_of_the_same_network_needs_no_consent(
    machine: Machine, command: Command, tmp_path: Path, invite_file: Path
) -> None:
    """The server has moved: the secret is the same."""
    store = machine.world(tmp_path).store
    moved = Invite("wss://192.0.2.9:8443", None, HOME.network, HOME.network_id, SECRET)
    store.write("invite", encode_invite(moved).encode())
    ended = command("join", "--state", str(tmp_path), "--invite-file", str(invite_file))
    assert ended.code == 0
    assert "left" not in ended.out
    assert list(store.files) == ["invite"]


def test_a_damaged_invite_is_kept_aside_too(
    machine: Machine, command: Command, tmp_path: Path, invite_file: Path
) -> None:
    store = machine.world(tmp_path).store
    store.write("invite", OLD_TEXT[:-5].encode())
    refused = command("join", "--state", str(tmp_path), "--invite-file", str(invite_file))
    assert "a network whose invite is damaged" in refused.err
    assert command("join", "--state", str(tmp_path), "--invite-file", str(invite_file), "--replace").code == 0
    assert sorted(store.files.values()) == sorted([OLD_TEXT[:-5].encode(), TEXT.encode() + b"\n"])


def in_network(machine: Machine, folder: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = machine.world(folder).store.files
    files |= {"invite": TEXT.encode(), "lease": b"10.86.0.7/16 1.0", "node.key": bytes(32)}
    files |= {f"names.{HOME.network_id}": b"", f"names.{OLD.network_id}": b""}
    return files


def test_leave_says_what_is_lost_and_asks(machine: Machine, command: Command, tmp_path: Path) -> None:
    files = in_network(machine, tmp_path)
    before = dict(files)
    ended = command("leave", "--state", str(tmp_path))
    assert (ended.code, ended.out) == (2, "")
    for word in ("network home", "the only copy of its secret", "the leased address", "the key", "add --yes"):
        assert word in ended.err
    assert files == before


@pytest.mark.parametrize("way", ["asked", "option"])
def test_leave_removes_the_network_and_keeps_the_key(
    machine: Machine, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    files = in_network(machine, tmp_path)
    type_in(monkeypatch, "yes\n" if way == "asked" else "")
    ended = command("leave", "--state", str(tmp_path), *(["--yes"] if way == "option" else []))
    assert (ended.code, ended.out) == (0, "left network home\n")
    assert files == {"node.key": bytes(32), f"names.{OLD.network_id}": b""}


def test_leave_names_the_invites_that_stay(machine: Machine, command: Command, tmp_path: Path) -> None:
    in_network(machine, tmp_path)
    aside = tmp_path / f"invite.{OLD.network_id}"
    aside.write_text(OLD_TEXT)
    out = command("leave", "--state", str(tmp_path), "--yes").out
    assert out == f"left network home\ninvites of other networks, which `join --replace` set aside, stay: {aside}\n"
    assert aside.exists()


def test_a_node_that_runs_is_not_left_under_its_feet(machine: Machine, command: Command, tmp_path: Path) -> None:
    files = in_network(machine, tmp_path)
    with holding(tmp_path, NODE, who="", remedy=""):
        ended = command("leave", "--state", str(tmp_path), "--yes")
    assert ended.code == 2
    assert f"end it first with `p2ptunnel-trio down --state {tmp_path}`" in ended.err
    assert "invite" in files


def test_a_node_in_no_network_leaves_none(machine: Machine, command: Command, tmp_path: Path) -> None:
    ended = command("leave", "--state", str(tmp_path), "--yes")
    assert ended.code == 2
    assert "this node is in no network" in ended.err


def test_joining_beside_a_node_that_runs_says_that_it_must_be_restarted(
    machine: Machine, command: Command, tmp_path: Path, invite_file: Path
) -> None:
    with holding(tmp_path, NODE, who="", remedy=""):
        ended = command("join", "--state", str(tmp_path), "--invite-file", str(invite_file))
    assert "the node that runs here must be restarted" in ended.out
