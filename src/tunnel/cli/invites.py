"""`invite`, `join` and `leave`: the one string that lets a machine into a network, and the file that keeps it.

An invite holds the network's secret. So it comes from a file, from stdin or from a hidden prompt, never from an option;
it goes to stdout or to a file that only its owner may read, and it is checked before anything else happens.
"""

from __future__ import annotations

import codecs
import ipaddress
import sys
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tunnel.cli import programs
from tunnel.cli.asking import as_user
from tunnel.cli.consent import require_consent
from tunnel.cli.options import ConfigOption, StateOption
from tunnel.cli.places import INVITE, default_state, make_folder
from tunnel.cli.state_lock import NODE, is_held
from tunnel.cli.text import printable
from tunnel.crypto.network_keys import derive_network_keys, open_invite
from tunnel.model.errors import SettingsError
from tunnel.model.identity import NetworkId
from tunnel.model.invite import Invite
from tunnel.network.ports import Store
from tunnel.node.lease import LEASE_FILE
from tunnel.node.name_holders import names_file
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
    programs.guard_memory()
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


def join(
    *,
    invite_file: Annotated[Path | None, Parameter(help="File with the invite; else stdin, or a hidden prompt.")] = None,
    replace: Annotated[
        bool, Parameter(help="Leave the network that this node is in, without being asked; its invite is kept aside.")
    ] = False,
    state: StateOption = None,
    config: ConfigOption = None,  # noqa: ARG001 - settings_file.py reads it
) -> int:
    """Keep an invite, so that `up` finds it. It is checked first; nothing is sent."""
    programs.guard_memory()
    folder = state or default_state()
    offered = read_invite_file(invite_file) if invite_file is not None else _checked(_typed_invite())
    store = programs.this_machine(folder).store
    kept = store.read(INVITE)
    if kept is not None and not _is_same_network(kept, offered):
        left = _name_of(kept)
        loss = f"this node is in {left} already, whose invite in {folder} may be the only copy of its secret"
        require_consent(f"{loss}; it would be kept aside", "--replace", is_given=replace)
        make_folder(folder, "--state")
        print(f"left {left}; its invite is kept as {folder / _keep_aside(store, kept)}")
        store.remove(LEASE_FILE)  # that network's server leased it
    make_folder(folder, "--state")
    store.write(INVITE, encode_invite(offered).encode() + b"\n")
    again = "; the node that runs here must be started anew" if is_held(folder, NODE) else ""
    print(
        f"joined network {printable(offered.network)} at {printable(offered.server)}; "
        f"now run `p2ptunnel-trio up`{again}"
    )
    return 0


def leave(
    *,
    yes: Annotated[bool, Parameter(help="Do it without being asked.")] = False,
    state: StateOption = None,
    config: ConfigOption = None,  # noqa: ARG001 - settings_file.py reads it
) -> int:
    """Remove the network that this node is in from its state folder: the invite, the leased address, peer names."""
    folder = state or default_state()
    store = programs.this_machine(folder).store
    kept = store.read(INVITE)
    if kept is None:
        raise SettingsError(f"this node is in no network: {folder} holds no invite")
    if is_held(folder, NODE):
        where = "" if state is None else f" --state {folder}"
        raise SettingsError(f"a node runs on {folder}: end it first with `p2ptunnel-trio down{where}`")
    left = _name_of(kept)
    loss = (
        f"to leave {left} removes its invite from {folder}, which may be the only copy of its secret (`p2ptunnel-trio "
        "invite` prints it), the address that was leased, and which names stand for whom; the key of this node stays"
    )
    require_consent(loss, "--yes", is_given=yes)
    network = _network_of(kept)
    for name in (*([] if network is None else [names_file(network)]), LEASE_FILE, INVITE):
        store.remove(name)
    print(f"left {left}")
    aside = ", ".join(sorted(str(file) for file in folder.glob(f"{INVITE}.*")))
    if aside:
        print(f"invites of other networks, which `join --replace` set aside, stay: {aside}")
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
    secret = programs.this_machine(None).entropy.token(_SECRET_BYTES)
    return Invite(str(url), pinned, network, derive_network_keys(network, secret).network_id, secret)


def stored_invite(folder: Path, elsewhere: str = "") -> Invite:
    """The invite that `join` kept. Raises SettingsError if there is none; `elsewhere` says where there may be one."""
    kept = programs.this_machine(folder).store.read(INVITE)
    if kept is None:
        raise SettingsError(
            f"this node is in no network yet ({folder} holds no invite): run `p2ptunnel-trio join`, as the same user"
            + elsewhere
        )
    return _checked(kept.decode("ascii", "replace"))


def read_invite_file(path: Path) -> Invite:
    """An invite from a file. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_INVITE)
    except OSError as error:
        raise SettingsError(f"cannot read the invite file {path}: {error.strerror}") from None
    if not content.strip():
        raise SettingsError(f"the invite file {path} is empty")
    return _checked(_text(content))


def _elsewhere() -> str:
    """Another user's node has an invite too, and this user may be able to ask it."""
    foreign = [seen for seen in programs.this_machine(None).controls.sightings() if not seen.is_open]
    if not foreign:
        return ""
    owner = foreign[0].owner
    return f"; that of {owner}'s node shows {as_user(owner, 'invite')}"


def _typed_invite() -> str:
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


def _checked(text: str) -> Invite:
    found, _ = open_invite(text)
    return found


def _network_of(kept: bytes) -> NetworkId | None:
    """Whose invite it is; None if it cannot be read."""
    try:
        return _checked(kept.decode("ascii", "replace")).network_id
    except SettingsError:
        return None


def _is_same_network(kept: bytes, offered: Invite) -> bool:
    """Whether nothing is lost when the one takes the other's place: the network and its secret stay."""
    return _network_of(kept) == offered.network_id


def _name_of(kept: bytes) -> str:
    try:
        return f"network {printable(_checked(kept.decode('ascii', 'replace')).network)}"
    except SettingsError:
        return "a network whose invite is damaged"


def _keep_aside(store: Store, kept: bytes) -> str:
    """The file that holds it from now on. One a network: what is there already holds the same secret."""
    name = f"{INVITE}.{_network_of(kept) or sha256(kept).hexdigest()[:16]}"
    store.write(name, kept)
    return name
