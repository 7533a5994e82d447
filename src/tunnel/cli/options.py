"""Options that several commands share. Each is also a TOML key (settings_file.py); none holds a secret."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tunnel.cli.default_paths import default_control, default_state, shown_path
from tunnel.cli.logs import Level
from tunnel.model.endpoint import Endpoint, parse_endpoint
from tunnel.model.errors import SettingsError

Flat = Parameter(name="*")
"""Marks a dataclass whose fields are options."""

ConfigOption = Annotated[Path | None, Parameter(name="--config", help="Settings from a TOML file.")]
StateOption = Annotated[
    Path | None,
    Parameter(name="--state", help="Folder of keys and invite.", show_default=lambda _: shown_path(default_state)),
]
NodesStateOption = Annotated[
    Path | None,
    Parameter(
        name="--state",
        help="Folder of that node's state; its socket is in there if `up` was given --state.",
        show_default=lambda _: shown_path(default_state),
    ),
]
ControlOption = Annotated[
    Path | None,
    Parameter(
        name="--control",
        help="Unix socket of the node on this machine; in --state DIR if only that is given.",
        show_default=lambda _: shown_path(default_control),
    ),
]


def parse_named_endpoint(option: str, text: str, default_port: int | None = None) -> Endpoint:
    """The value of an option that is a numeric ADDRESS:PORT. Raises SettingsError, which names the option."""
    try:
        return parse_endpoint(text, default_port)
    except SettingsError as error:
        raise SettingsError(f"{option} {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of commands that run until they are stopped."""

    config: ConfigOption = None
    log_level: Annotated[Level, Parameter(name="--log-level", help="How much to log on stderr.")] = "info"
    log_libraries: Annotated[
        bool, Parameter(name="--log-libraries", help="Also log what the libraries say, at the same level.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlOptions:
    """Options of commands that ask the node on this machine."""

    state: NodesStateOption = None
    control: ControlOption = None
    config: ConfigOption = None

    @property
    def socket(self) -> Path:
        """Where `up` with the same options listens."""
        return self.control or default_control(self.state)


NodeOption = Annotated[ControlOptions | None, Flat]
