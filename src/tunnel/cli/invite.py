"""`invite`, and the one string that lets a machine into a network: made, read, and found in the file that keeps it.

An invite holds the network's secret. So it comes from a file, from stdin or from a hidden prompt, never from an option;
it goes to stdout or to a file that only its owner may read, and it is checked before anything else happens.
"""

from __future__ import annotations

import codecs
import ipaddress
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tunnel.cli import launch
from tunnel.cli.default_paths import INVITE, default_state
from tunnel.cli.local_node import as_user
from tunnel.cli.options import ConfigOption, StateOption
from tunnel.crypto.network_keys import new_invite, open_invite
from tunnel.model.errors import SettingsError
from tunnel.model.invite import Invite
from tunnel.wire.invites import encode_invite

MAX_INVITE = 64 * 1024
DEFAULT_NETWORK = "tunnel"
_SECRET_BYTES = 32
_NEW_NETWORK = (
    "; or make a network: `p2ptunnel-trio invite --server wss://HOST:8443 --pin sha256:...`, the pin from the server's "
    "ready line"
)


def invite(
    *,
    server: Annotated[str | None, Parameter(help="wss://HOST:PORT under which the others reach the server.")] = None,
    pin: Annotated[
        str | None, Parameter(help="sha256:BASE64, from the ready line; leave out for a real certificate.")
    ] = None,
    network: Annotated[str | None, Parameter(help=f"Name of the new network; {DEFAULT_NETWORK} if left out.")] = None,
    state: StateOption = None,
    config: ConfigOption = None,  # noqa: ARG001 - settings_file.py reads it
) -> int:
    """Make a network and print its invite, or print the invite of this node. The invite stands alone on stdout."""
    launch.guard_memory()
    if server is None:
        if pin is not None or network is not None:
            raise SettingsError("--pin and --network make a new network, which needs --server too")
        made = stored_invite(state or default_state(), _NEW_NETWORK + (_elsewhere() if state is None else ""))
    elif state is not None:
        raise SettingsError("--server makes a new network, --state shows the one that this node is in: choose one")
    else:
        made = make_invite(server, pin, DEFAULT_NETWORK if network is None else network)
    print(encode_invite(made))
    return 0


def make_invite(server: str, pin: str | None, network: str) -> Invite:
    """A new network with a new secret. Raises SettingsError."""
    from tunnel.network.tls import parse_pin
    from tunnel.network.urls import ServerUrl

    url = ServerUrl.parse(server)
    if _is_wildcard(url.host):
        raise SettingsError(f"--server {server}: write the address under which the others reach the server")
    if not url.is_tls:
        raise SettingsError(f"--server {server} is without TLS, which no `p2ptunnel-trio server` speaks: write wss://")
    pinned = None if pin is None else parse_pin(pin)
    secret = launch.this_machine(None).entropy.token(_SECRET_BYTES)
    return new_invite(str(url), pinned, network, secret)


def stored_invite(folder: Path, elsewhere: str = "") -> Invite:
    """The invite that `join` kept. Raises SettingsError if there is none; `elsewhere` says where there may be one."""
    kept = launch.this_machine(folder).store.read(INVITE)
    if kept is None:
        raise SettingsError(
            f"this node is in no network yet ({folder} holds no invite): run `p2ptunnel-trio join`, as the same user"
            + elsewhere
        )
    return parse_invite(kept.decode("ascii", "replace"))


def read_invite_file(path: Path) -> Invite:
    """An invite from a file. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_INVITE)
    except OSError as error:
        raise SettingsError(f"cannot read the invite file {path}: {error.strerror}") from None
    if not content.strip():
        raise SettingsError(f"the invite file {path} is empty")
    return parse_invite(_text(content))


def typed_invite() -> str:
    """What comes by stdin, or is typed where nobody sees it. Raises SettingsError if that is nothing."""
    if sys.stdin is None or not sys.stdin.isatty():
        typed, where = _piped_invite(), "stdin is empty"
    else:
        from getpass import getpass

        try:
            typed, where = getpass("Invite (not shown): "), "nothing was typed"
        except EOFError:
            typed, where = "", "nothing was typed"
        except KeyboardInterrupt:
            print(file=sys.stderr)  # the shell's prompt begins a line of its own
            raise
    if not typed.strip():
        raise SettingsError(f"no invite was given: {where}")
    return typed


def parse_invite(text: str) -> Invite:
    """The invite that a text holds. Raises SettingsError."""
    found, _ = open_invite(text)
    return found


def _elsewhere() -> str:
    """Another user's node has an invite too, and this user may be able to ask it."""
    foreign = [seen for seen in launch.this_machine(None).controls.sightings() if not seen.is_open]
    if not foreign:
        return ""
    owner = foreign[0].owner
    return f"; that of {owner}'s node shows {as_user(owner, 'invite')}"


def _piped_invite() -> str:
    if sys.stdin is None:  # it was closed
        return ""
    binary = getattr(sys.stdin, "buffer", None)
    return sys.stdin.read(MAX_INVITE) if binary is None else _text(binary.read(MAX_INVITE))


def _text(content: bytes) -> str:
    """What an editor or a shell has saved, as its byte order mark says: PowerShell writes UTF-16."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    return content.decode("utf-8-sig", "replace")


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False  # a name
