"""An invite is read from wherever it is handed in, and a damaged one changes nothing."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.conftest import type_in

from tunnel.crypto.network_keys import derive_network_keys
from tunnel.model.invite import Invite
from tunnel.wire.invites import decode_invite, encode_invite

if TYPE_CHECKING:
    from tests.cli.conftest import Machine

Command = Callable[..., Any]
SECRET = bytes(range(32))
HOME = Invite("wss://192.0.2.1:8443", bytes(32), "home", derive_network_keys("home", SECRET).network_id, SECRET)
TEXT = encode_invite(HOME)
PIN = "sha256:" + "A" * 43 + "="


def test_join_reads_stdin_and_keeps_the_invite(
    machine: Machine, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"  {TEXT[:30]}\n{TEXT[30:]}\n"))
    ended = command("join", "--state", str(tmp_path / "state"))
    assert ended.code == 0
    assert "home" in ended.out
    assert TEXT not in ended.out + ended.err
    kept = machine.stores[tmp_path / "state"].files["invite"]
    assert decode_invite(kept.decode()) == HOME


def test_join_reads_a_file(machine: Machine, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "invite.txt"
    file.write_text(TEXT)
    assert command("join", "--invite-file", str(file), "--state", str(tmp_path)).code == 0
    assert decode_invite(machine.stores[tmp_path].files["invite"].decode()) == HOME


SAVED = {
    "UTF-8 with a mark": TEXT.encode("utf-8-sig"),
    "UTF-16 of PowerShell": ("\ufeff" + TEXT + "\r\n").encode("utf-16-le"),
    "UTF-16, the other end first": ("\ufeff" + TEXT).encode("utf-16-be"),
}


@pytest.mark.parametrize("content", SAVED.values(), ids=SAVED.keys())
@pytest.mark.parametrize("way", ["stdin", "file"])
def test_an_invite_is_read_as_windows_saved_it(
    machine: Machine, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, way: str
) -> None:
    file = tmp_path / "invite.txt"
    file.write_bytes(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    ended = command("join", *(["--invite-file", str(file)] if way == "file" else []), "--state", str(tmp_path))
    assert (ended.code, ended.err) == (0, "")
    assert decode_invite(machine.stores[tmp_path].files["invite"].decode()) == HOME


def test_a_closed_stdin_holds_no_invite(
    machine: Machine, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    ended = command("join", "--state", str(tmp_path))
    assert (ended.code, ended.err) == (2, "p2ptunnel-trio: no invite was given: stdin is empty\n")


def test_join_on_a_terminal_asks_without_echo(
    machine: Machine, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def hidden_prompt(prompt: str) -> str:
        asked.append(prompt)
        return TEXT

    type_in(monkeypatch, "never read")
    monkeypatch.setattr("getpass.getpass", hidden_prompt)
    assert command("join", "--state", str(tmp_path)).code == 0
    assert len(asked) == 1


def test_an_interrupted_prompt_ends_its_line(
    machine: Machine, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(prompt: str) -> str:
        raise KeyboardInterrupt

    type_in(monkeypatch, "")
    monkeypatch.setattr("getpass.getpass", interrupted)
    ended = command("join", "--state", str(tmp_path))
    assert (ended.code, ended.err) == (130, "\n")


DAMAGED = {
    "truncated": TEXT[:-5],
    "one letter wrong": TEXT[:40] + ("A" if TEXT[40] != "A" else "B") + TEXT[41:],
    "empty": "",
    "not an invite": "hello",
    "binary": "p2pt1-\x00\x1b[2J\udcff",
    "wrong secret": encode_invite(
        Invite(HOME.server, HOME.pin, HOME.network, derive_network_keys("home", bytes(32)).network_id, SECRET)
    ),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED.keys())
@pytest.mark.parametrize("way", ["stdin", "file"])
def test_a_damaged_invite_is_one_line_and_nothing_is_kept(
    machine: Machine, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, way: str
) -> None:
    file = tmp_path / "invite.txt"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    state = tmp_path / "state"
    argv = ["--invite-file", str(file)] if way == "file" else []
    ended = command("join", *argv, "--state", str(state))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert ended.err.rstrip("\n").isprintable()
    assert len(text) < 20 or text[10:] not in ended.err
    assert not state.exists()
    assert all(not store.files for store in machine.stores.values())


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_invite_is_reported_as_empty(
    machine: Machine, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "invite.txt"
    file.write_text(content)
    assert f"{file} is empty" in command("join", "--invite-file", str(file), "--state", str(tmp_path)).err
    monkeypatch.setattr(sys, "stdin", io.StringIO(content))
    assert "stdin is empty" in command("join", "--state", str(tmp_path)).err


def test_a_missing_invite_file_is_a_usage_error(machine: Machine, command: Command, tmp_path: Path) -> None:
    ended = command("join", "--invite-file", str(tmp_path / "none"), "--state", str(tmp_path))
    assert ended.code == 2
    assert "cannot read the invite file" in ended.err
