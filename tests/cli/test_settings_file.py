"""--config: every option is a key, and a wrong key is found with its nearest known one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunnel.cli import up as up_module
from tunnel.cli.command_line import COMMANDS, build_app, run
from tunnel.cli.exit_codes import USAGE
from tunnel.cli.settings_file import options_of_command, settings_for
from tunnel.model.errors import SettingsError

KNOWN = {"up": frozenset({"name", "udp-port", "state"}), "join": frozenset({"state"}), "server": frozenset({"udp"})}


@pytest.mark.parametrize(
    ("document", "chosen"),
    [
        ({}, {}),
        ({"name": "desk"}, {"name": "desk"}),
        ({"up": {"name": "desk"}}, {"name": "desk"}),
        ({"name": "all", "up": {"name": "desk"}}, {"name": "desk"}),
        ({"udp_port": 7}, {"udp-port": 7}),
        ({"up": {"udp_port": 7}}, {"udp-port": 7}),
        ({"server": {"udp": ["x:1"]}, "udp": ["y:1"]}, {}),
    ],
    ids=["empty", "top", "table", "the table wins", "underscore", "underscore in a table", "of another command"],
)
def test_a_command_takes_its_own_keys(document: dict[str, Any], chosen: dict[str, Any]) -> None:
    assert settings_for(document, "up", KNOWN) == chosen


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"nmae": 1}, ["'nmae'", "'name'"]),
        ({"up": {"udp-prot": 1}}, ["'udp-prot'", "'udp-port'", "'up'"]),
        ({"join": {"name": 1}}, ["'name'", "'join'", "known ones are state"]),
        ({"serve": {}}, ["'serve'", "'server'"]),
    ],
    ids=["top", "table", "another command's table", "unknown table"],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(document: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_for(document, "up", KNOWN)
    assert all(word in str(caught.value) for word in words)


def test_an_unknown_key_is_reported_without_its_value() -> None:
    """It may be a secret that somebody put into the wrong place."""
    with pytest.raises(SettingsError) as caught:
        settings_for({"invite": "hunter2"}, "up", KNOWN)
    assert "hunter2" not in str(caught.value)


def test_no_option_of_any_command_holds_a_secret() -> None:
    """Options show in `ps`: an invite comes from a file, stdin or a prompt."""
    app = build_app()
    options = {option for name, _, _ in COMMANDS for option in options_of_command(app, name)}
    assert {"name", "invite-file", "json", "listen"} <= options
    assert not options & {"invite", "secret", "key", "password", "psk", "token"}


class Captured:
    """`up` up to the point where it would start."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[up_module.UpOptions] = []

        def settings(options: up_module.UpOptions) -> None:
            self.seen.append(options)
            raise SettingsError("far enough")

        monkeypatch.setattr(up_module.UpOptions, "settings", settings)


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> Captured:
    return Captured(monkeypatch)


ALL_OF_UP = """
[up]
name = "desk"
state = "/srv/state"
control = "/srv/control.sock"
tun = "p2p7"
userspace = true
address = "10.86.0.9"
udp-port = 4242
external = "192.0.2.1:4242"
no-survey = true
relay-only = true
no-udp = true
stun = ["a.test:1", "b.test:2"]
no-default-stun = true
no-port-mapping = true
without-offload = ["uso"]
invite-file = "/srv/invite"
log-level = "debug"
log-libraries = true
"""


def test_every_option_of_up_may_stand_in_the_file(
    captured: Captured, command: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "node.toml"
    file.write_text(ALL_OF_UP)
    assert command("up", "--config", str(file)).err == "p2ptunnel-trio: far enough\n"
    assert captured.seen == [
        up_module.UpOptions(
            name="desk",
            state=Path("/srv/state"),
            control=Path("/srv/control.sock"),
            tun="p2p7",
            userspace=True,
            address="10.86.0.9",
            udp_port=4242,
            external="192.0.2.1:4242",
            no_survey=True,
            relay_only=True,
            no_udp=True,
            stun=("a.test:1", "b.test:2"),
            no_default_stun=True,
            no_port_mapping=True,
            without_offload=("uso",),
        )
    ]
    named = {line.partition(" ")[0] for line in ALL_OF_UP.splitlines() if " = " in line}
    assert named == options_of_command(build_app(), "up")


def test_an_option_wins_over_the_file(captured: Captured, command: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[up]\nname = "file"\nudp-port = 5\nstun = ["file:1"]\n')
    command("up", "--name", "option", "--stun", "option:1", "--config", str(file))
    assert captured.seen == [up_module.UpOptions(name="option", udp_port=5, stun=("option:1",))]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nmae = 1", ["'nmae'", "'name'"]),
        ("name =", ["not TOML"]),
        ("udp-port = 'many'", ["node.toml: setting 'udp-port': 'many' is not a whole number"]),
        ("udp-port = true", ["'udp-port': True is not a whole number"]),
        ("name = 5", ["'name': 5 is not a text"]),
        ("no-default-stun = 'yes'", ["'no-default-stun': 'yes' is not true or false"]),
        ("stun = 'stun.test:1'", ["'stun': 'stun.test:1' is not a list of texts"]),
        ("stun = [1]", ["'stun': [1] is not a list of texts"]),
        ("state = 1", ["'state': 1 is not a text"]),
        ("[up]\nlog-level = 'loud'", ["'log-level': 'loud' is not one of debug, info, warning, error"]),
    ],
    ids=["unknown key", "broken", "number", "boolean", "text", "switch", "list", "items", "path", "choice"],
)
def test_a_wrong_file_is_a_usage_error_in_one_line(
    captured: Captured, command: Callable[..., Any], tmp_path: Path, content: str, words: list[str]
) -> None:
    file = tmp_path / "node.toml"
    file.write_text(content)
    ended = command("up", "--config", str(file))
    assert ended.code == 2
    assert all(word in ended.err for word in words)
    assert ended.err.count("\n") == 1
    assert not captured.seen


def test_a_missing_file_is_a_usage_error(command: Callable[..., Any], tmp_path: Path) -> None:
    ended = command("up", "--config", str(tmp_path / "none.toml"))
    assert ended.code == 2
    assert "cannot read settings" in ended.err


@pytest.mark.parametrize(
    "content",
    ["a = " + "[" * 20_000, "a." * 20_000 + "b = 1", "processes = " + "9" * 5000, "processes = 0x" + "f" * 9000],
)
def test_a_hostile_settings_file_is_reported_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(content)
    assert run(["simulate", "--config", str(file)]) == USAGE
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(file) in err
    assert len(err) < 300
