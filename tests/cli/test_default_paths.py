"""Where things are kept if no option says so."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from tunnel.cli.default_paths import default_control, default_state, make_folder, shown_path
from tunnel.model.errors import DeviceError, SettingsError


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/u")


@pytest.mark.parametrize(
    ("xdg", "state"),
    [
        ("", "/home/u/.local/state/p2ptunnel-trio"),
        ("/xdg", "/xdg/p2ptunnel-trio"),
        ("relative", "/home/u/.local/state/p2ptunnel-trio"),
    ],
    ids=["unset", "set", "a relative one is ignored, as the specification says"],
)
def test_a_user_keeps_state_and_socket_at_home(
    user: None, monkeypatch: pytest.MonkeyPatch, xdg: str, state: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", xdg)
    assert default_state() == Path(state)
    assert default_control() == Path(state) / "control.sock"


@pytest.mark.parametrize("home", [None, "", "relative"], ids=str)
def test_without_home_the_user_database_knows_it(user: None, monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    """Services and `env -i` set no HOME."""
    monkeypatch.delenv("HOME") if home is None else monkeypatch.setenv("HOME", home)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd(("u", "x", 1000, 1000, "", "/home/u", "/bin/sh")))
    assert default_state() == Path("/home/u/.local/state/p2ptunnel-trio")


def test_a_user_without_a_home_learns_which_option_helps(user: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(SettingsError, match=r"no home folder.*--state DIR"):
        default_control()
    assert shown_path(default_state) == "none: this user has no home folder", "`--help` works all the same"


def test_root_keeps_them_where_services_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_state() == Path("/var/lib/p2ptunnel-trio")
    assert default_control() == Path("/run/p2ptunnel-trio/control.sock")


def test_a_named_state_folder_holds_the_socket_too() -> None:
    assert default_control(Path("/srv/a")) == Path("/srv/a/control.sock")


def test_a_new_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b", "--state")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="--control"):
        make_folder(tmp_path / "file" / "folder", "--control")
