"""--config FILE: TOML whose keys are the options' names without their dashes.

    state = "/srv/tunnel"          # at the top: for every command that has such an option
    [up]                           # in a table: for this command alone
    name = "desk"
    stun = ["stun.example.org:3478"]

An option on the command line wins over the file. An unknown key is an error that names the nearest known one, a value
of the wrong kind one that names the right kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunnel.cli.option_types import describe_type, fits
from tunnel.cli.suggestions import or_nearest
from tunnel.model.errors import SettingsError
from tunnel.model.toml_file import parse_toml, read_text, shown

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import ArgumentCollection

OPTION = "--config"
_MOST = (1 << 63) - 1
"""The largest whole number, as in other TOML readers."""


def settings_for(document: Mapping[str, Any], command: str, known: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    """The keys of a parsed file that `command` takes; a table wins over the top. `known` holds every command's options.

    Underscores count as dashes. Raises SettingsError for a key or table that nothing knows.
    """
    shared: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in document.items():
        name = _dashed(key)
        if isinstance(value, dict):
            if name not in known:
                raise SettingsError(f"unknown table {key!r}: {or_nearest(name, known)}")
            table = {_dashed(inner): content for inner, content in value.items()}
            for inner in table:
                _check(inner, known[name], f" in table {key!r}")
            if name == command:
                own = table
        else:
            _check(name, frozenset().union(known[command], *known.values()), "")
            if name in known[command]:
                shared[name] = value
    return {**shared, **own}


def read_settings(root: App, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Cyclopts calls this between the command line and the defaults. Raises SettingsError."""
    from cyclopts.config import Dict

    chosen = next((argument for argument in arguments if OPTION in argument.names), None)
    if chosen is None or not chosen.tokens:
        return
    path = Path(chosen.tokens[-1].value)
    try:
        document = parse_toml(read_text(path), str(path))
    except SettingsError as error:
        raise SettingsError(f"cannot read settings: {error}") from None
    names = [name for name in root if not name.startswith("-")]
    known = {name: options_of_command(root, name) for name in names}
    try:
        settings = settings_for(document, commands[-1], known)
        _check_values(settings, arguments)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
    Dict({commands[-1]: settings}, source=str(path))(app, commands, arguments)


def options_of_command(root: App, name: str) -> frozenset[str]:
    """The long options of one of the program's commands, without their leading dashes."""
    return options_of(root[name].assemble_argument_collection(default_parameter=root.default_parameter))


def options_of(arguments: ArgumentCollection) -> frozenset[str]:
    """The long options of a command, without their leading dashes, but --config itself."""
    names = (name for argument in arguments for name in argument.names)
    return frozenset(name[2:] for name in names if name.startswith("--") and name != OPTION)


def _dashed(key: str) -> str:
    return key.replace("_", "-")


def _check_values(settings: Mapping[str, Any], arguments: ArgumentCollection) -> None:
    hints = {name: argument.hint for argument in arguments for name in argument.names}
    for key, value in settings.items():
        if isinstance(value, int) and abs(value) > _MOST:
            raise SettingsError(f"setting {key!r}: {shown(value)} is beyond {_MOST}")
        if not fits(value, hint := hints[f"--{key}"]):
            raise SettingsError(f"setting {key!r}: {shown(value)} is not {describe_type(hint)}")


def _check(name: str, known: frozenset[str], where: str) -> None:
    if name not in known:
        raise SettingsError(f"unknown setting {name!r}{where}: {or_nearest(name, known)}")
