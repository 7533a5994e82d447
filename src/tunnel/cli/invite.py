"""`invite`: make a network and its invite, or print the invite of this node.

An invite holds the network's secret: it goes to stdout alone, and to no option.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated

from cyclopts import Parameter

from tunnel.cli import launch
from tunnel.cli.default_paths import default_state
from tunnel.cli.invite_input import stored_invite
from tunnel.cli.local_node import as_user
from tunnel.cli.options import ConfigOption, StateOption
from tunnel.crypto.network_keys import new_invite
from tunnel.model.errors import SettingsError
from tunnel.model.invite import Invite
from tunnel.wire.invites import encode_invite

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
    """Make a network and print its invite, or print the invite of this node. Nothing else goes to stdout."""
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
        raise SettingsError(f"--server {server}: give the address under which the others reach the server")
    if not url.is_tls:
        raise SettingsError(f"--server {server} has no TLS, which every `p2ptunnel-trio server` uses: write wss://")
    pinned = None if pin is None else parse_pin(pin)
    secret = launch.this_machine(None).entropy.token(_SECRET_BYTES)
    return new_invite(str(url), pinned, network, secret)


def _elsewhere() -> str:
    """Where another user's node may have an invite, the command that asks it."""
    foreign = [seen for seen in launch.this_machine(None).controls.sightings() if not seen.is_open]
    if not foreign:
        return ""
    owner = foreign[0].owner
    return f"; {as_user(owner, 'invite')} prints that of {owner}'s node"


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False  # a name
