"""Every way to end has its exit code, and its one line on stderr."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tunnel.cli import chart, command_line
from tunnel.cli.command_line import COMMANDS, run
from tunnel.cli.settings_file import options_of_command
from tunnel.crypto.network_keys import derive_network_keys
from tunnel.model.errors import (
    DeviceError,
    PeerUnreachable,
    Refused,
    ServerUnreachable,
    SettingsError,
    TunnelError,
)
from tunnel.model.invite import Invite
from tunnel.wire.invites import encode_invite

SECRET = sha256(b"a secret for tests").digest()
Command = Callable[..., Any]


def break_chart(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let `chart peer_connection` end with an error."""

    def fail(_: object) -> str:
        raise error

    monkeypatch.setattr(chart, "mermaid", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TunnelError("no"), 1),
        (DeviceError("no"), 1),
        (PeerUnreachable("no"), 1),
        (SettingsError("no"), 2),
        (ServerUnreachable("no"), 3),
        (Refused("no"), 4),
        (ExceptionGroup("", [ExceptionGroup("", [SettingsError("no")])]), 2),
        (ExceptionGroup("", [Refused("no"), Refused("no")]), 4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_kind_of_error_has_its_exit_code_and_one_line(
    monkeypatch: pytest.MonkeyPatch, command: Command, error: Exception, code: int
) -> None:
    break_chart(monkeypatch, error)
    ended = command("chart", "peer_connection")
    assert (ended.code, ended.out, ended.err) == (code, "", "p2ptunnel-trio: no\n")


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        BaseExceptionGroup("", [KeyboardInterrupt()]),
        BaseExceptionGroup("", [SettingsError("no"), KeyboardInterrupt()]),
    ],
    ids=["alone", "in a group", "beside an error"],
)
def test_an_interruption_is_130_without_a_word(
    monkeypatch: pytest.MonkeyPatch, command: Command, error: BaseException
) -> None:
    break_chart(monkeypatch, error)
    ended = command("chart", "peer_connection")
    assert (ended.code, ended.err) == (130, "")


def test_a_bug_shows_its_traceback_without_secrets_and_control_characters(
    monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    break_chart(monkeypatch, ZeroDivisionError("p2pt1-AAAA \x1b[2J"))
    ended = command("chart", "peer_connection")
    assert ended.code == 1
    assert "ZeroDivisionError: p2pt1-(hidden) \\x1b[2J" in ended.err
    assert "please report" in ended.err
    assert "\x1b" not in ended.err


def test_help_lists_every_command_and_every_command_has_help(command: Command) -> None:
    overview = command("--help")
    assert overview.code == 0
    for name, _, sentence in COMMANDS:
        assert name in overview.out
        assert sentence.split()[0] in overview.out
        ended = command(name, "--help")
        assert ended.code == 0
        assert f"Usage: p2ptunnel-trio {name}" in ended.out


def test_a_command_says_the_same_of_itself_in_the_overview_and_in_its_own_help() -> None:
    app = command_line.build_app()
    for name, _, sentence in COMMANDS:
        function = app[name].default_command
        assert function is not None
        assert (function.__doc__ or "").startswith(sentence)


@pytest.mark.parametrize("name", [entry[0] for entry in COMMANDS])
def test_help_shows_only_defaults_that_tell_something(command: Command, name: str) -> None:
    shown = " ".join(command(name, "--help").out.replace("│", " ").split())
    assert not any(f"[default: {nothing}]" in shown for nothing in ("()", "False", "None"))
    options = options_of_command(command_line.build_app(), name)
    for option, default in (("state", "p2ptunnel-trio"), ("control", "control.sock")):
        assert option not in options or re.search(rf"--{option} .*?\[default: \S*{default}(/server)?\]", shown)


def test_version_is_the_version_of_the_package(command: Command) -> None:
    ended = command("--version")
    assert ended.code == 0
    assert ended.out.split(".")[0].isdigit()


def test_help_loads_neither_the_programs_nor_trio(tmp_path: Path) -> None:
    """`--help` and shell completion should feel instant."""
    code = (
        "import sys\n"
        "from tunnel.cli.command_line import run\n"
        "run(['--help'])\n"
        "heavy = {'trio', 'cryptography', 'statemachine', 'msgpack', 'tunnel.node'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path, check=False, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_main_leaves_with_the_code_of_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from tunnel.cli import main

    monkeypatch.setattr(sys, "argv", ["p2ptunnel-trio", "nonsense"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == run(["nonsense"]) == 2


INVITE = encode_invite(
    Invite("wss://192.0.2.1:8443", None, "home", derive_network_keys("home", SECRET).network_id, SECRET)
)
HEAD, TAIL = INVITE[:70], INVITE[70:]


@pytest.mark.parametrize(
    "argv",
    [
        (INVITE,),
        (HEAD, TAIL),
        (f"{HEAD} {TAIL}",),
        ("join", INVITE),
        ("join", HEAD, TAIL),
        ("join", TAIL, HEAD),
        ("join", f"{HEAD} {TAIL}"),
        ("join", "--invite-file", INVITE),
        ("join", "--invite-file", f"{HEAD} {TAIL}"),
        ("join", "--invite-file", f"{HEAD}\n{TAIL[:7]} {TAIL[7:]}"),
        ("join", f"--invite-file={HEAD} {TAIL}"),
        ("join", f"--state={HEAD}", "--invite-file", TAIL),
        ("join", f"--{INVITE}"),
        ("up", "--udp-port", INVITE),
        ("up", "--udp-port", TAIL),
        ("up", "--name", f"{HEAD} {TAIL}"),
        ("up", "--stun", f"{HEAD} {TAIL}"),
        ("invite", "--server", f"{HEAD} {TAIL}"),
        ("ping", f"{HEAD} {TAIL}", "--count", "0"),
        ("ping", "--count", TAIL, "laptop"),
        ("simulate", f"{HEAD} {TAIL}"),
        ("chart", TAIL),
    ],
    ids=lambda argv: " ".join(argv).replace(INVITE, "INVITE").replace(HEAD, "HEAD").replace(TAIL, "TAIL"),
)
def test_no_error_repeats_any_part_of_an_invite(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """It was pasted in the wrong place, or in two pieces, and what is on the screen gets read and copied."""
    assert run(argv) != 0
    said = "".join(capsys.readouterr())
    secret = INVITE.removeprefix("p2pt1-")
    assert [secret[at : at + 6] for at in range(len(secret) - 5) if secret[at : at + 6] in said] == []
