"""`join` and `leave`: the network that a state folder is in. No secret is lost without asking."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tunnel.cli import launch
from tunnel.cli.confirmation import require_confirmation
from tunnel.cli.default_paths import INVITE, default_state, make_folder
from tunnel.cli.invite_input import parse_invite, read_invite_file, typed_invite
from tunnel.cli.options import ConfigOption, StateOption
from tunnel.cli.state_lock import NODE, is_held
from tunnel.model.errors import SettingsError
from tunnel.model.identity import NetworkId
from tunnel.model.invite import Invite
from tunnel.model.safe_text import printable
from tunnel.network.ports import Store
from tunnel.node.lease import LEASE_FILE
from tunnel.node.name_holders import names_file
from tunnel.wire.invites import encode_invite


def join(
    *,
    invite_file: Annotated[Path | None, Parameter(help="File with the invite; else stdin, or a hidden prompt.")] = None,
    replace: Annotated[
        bool, Parameter(help="Leave the present network without being asked; its invite is set aside.")
    ] = False,
    state: StateOption = None,
    config: ConfigOption = None,  # noqa: ARG001 - settings_file.py reads it
) -> int:
    """Keep an invite, so that `up` finds it. It is checked first; nothing is sent."""
    launch.guard_memory()
    folder = state or default_state()
    offered = read_invite_file(invite_file) if invite_file is not None else parse_invite(typed_invite())
    store = launch.this_machine(folder).store
    kept = store.read(INVITE)
    if kept is not None and not _is_same_network(kept, offered):
        left = _name_of(kept)
        loss = f"this node is in {left} already, whose invite in {folder} may be the only copy of its secret"
        require_confirmation(f"{loss}; it would be set aside", "--replace", is_given=replace)
        make_folder(folder, "--state")
        print(f"left {left}; its invite is kept as {folder / _set_aside(store, kept)}")
        store.remove(LEASE_FILE)  # that network's server leased it
    make_folder(folder, "--state")
    store.write(INVITE, encode_invite(offered).encode() + b"\n")
    again = "; the node that runs here must be restarted" if is_held(folder, NODE) else ""
    print(
        f"joined network {printable(offered.network)} at {printable(offered.server)}; "
        f"now run `p2ptunnel-trio up`{again}"
    )
    return 0


def leave(
    *,
    yes: Annotated[bool, Parameter(help="Do not ask.")] = False,
    state: StateOption = None,
    config: ConfigOption = None,  # noqa: ARG001 - settings_file.py reads it
) -> int:
    """Remove the network that this node is in from its state folder: the invite, the leased address, peer names."""
    folder = state or default_state()
    store = launch.this_machine(folder).store
    kept = store.read(INVITE)
    if kept is None:
        raise SettingsError(f"this node is in no network: {folder} holds no invite")
    if is_held(folder, NODE):
        where = "" if state is None else f" --state {folder}"
        raise SettingsError(f"a node runs on {folder}: end it first with `p2ptunnel-trio down{where}`")
    left = _name_of(kept)
    loss = (
        f"leaving {left} removes its invite from {folder}, which may be the only copy of its secret (`p2ptunnel-trio "
        "invite` prints it), the leased address, and the names of peers; the key of this node stays"
    )
    require_confirmation(loss, "--yes", is_given=yes)
    network = _network_of(kept)
    for name in (*([] if network is None else [names_file(network)]), LEASE_FILE, INVITE):
        store.remove(name)
    print(f"left {left}")
    aside = ", ".join(sorted(str(file) for file in folder.glob(f"{INVITE}.*")))
    if aside:
        print(f"invites of other networks, which `join --replace` set aside, stay: {aside}")
    return 0


def _network_of(kept: bytes) -> NetworkId | None:
    """The network of an invite; None if it cannot be read."""
    try:
        return parse_invite(kept.decode("ascii", "replace")).network_id
    except SettingsError:
        return None


def _is_same_network(kept: bytes, offered: Invite) -> bool:
    """Whether nothing is lost when one replaces the other: the network and its secret stay."""
    return _network_of(kept) == offered.network_id


def _name_of(kept: bytes) -> str:
    try:
        return f"network {printable(parse_invite(kept.decode('ascii', 'replace')).network)}"
    except SettingsError:
        return "a network whose invite is damaged"


def _set_aside(store: Store, kept: bytes) -> str:
    """Keep it in another file, and return the name. One for each network: an older file holds the same secret."""
    name = f"{INVITE}.{_network_of(kept) or sha256(kept).hexdigest()[:16]}"
    store.write(name, kept)
    return name
