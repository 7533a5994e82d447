"""Which values a node's settings may have: one set of rules for the library and for the options of `up`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from tunnel.model.announcement import MAX_NAME
from tunnel.model.endpoint import Endpoint, is_usable, split_host_port
from tunnel.model.errors import SettingsError
from tunnel.model.interface_kind import Userspace
from tunnel.model.node_name import reads_as_address_or_id
from tunnel.model.settings import NodeSettings

_MAX_TUN = 15  # IFNAMSIZ - 1
_HOST = re.compile(r"[\w.:%-]+")


def check_node_settings(settings: NodeSettings, called: Callable[[str], str] = str) -> None:
    """Raise SettingsError for the first wrong field. `called(FIELD)` is the name that the user knows it by."""
    for field, check in _CHECKS.items():
        value = getattr(settings, field)
        if value is not None and (complaint := check(value)) is not None:
            raise SettingsError(f"{called(field)} {complaint}")
    if not settings.udp:
        for field in _OF_UDP:
            if getattr(settings, field):
                raise SettingsError(f"{called(field)} is of no use to a node that was told to use no UDP")


_OF_UDP = ("udp_port", "external", "stun")


def fit_name(host_name: str) -> str:
    """A host name as a node's name: cut to length, unprintable characters replaced by dashes; `node` if it is empty.

    On Linux a host name has up to 64 bytes of any kind; bytes that are not UTF-8 come as surrogates (PEP 383).
    """
    shown = "".join(character if character.isprintable() else "-" for character in host_name)
    name = shown.strip()[:MAX_NAME].strip() or "node"
    return f"node-{name}"[:MAX_NAME].strip() if reads_as_address_or_id(name) else name


def _name(name: object) -> str | None:
    if isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable() and name == name.strip():
        if not reads_as_address_or_id(name):
            return None
        return f"{name!r}: this reads as an address or a node id, which a name must not"
    return f"{name!r}: a name has 1 to {MAX_NAME} printable characters, none of them a blank at either end"


def _tun(name: object) -> str | None:
    is_name = isinstance(name, str) and 0 < len(name.encode()) <= _MAX_TUN and name not in (".", "..")
    if is_name and not any(c.isspace() or c == "/" for c in str(name)):
        return None
    return f"{name!r}: an interface name has 1 to {_MAX_TUN} characters, no space and no slash"


def _address(text: object) -> str | None:
    try:
        ipaddress.IPv4Address(str(text))
    except ValueError:
        return f"{text!r} is not an IPv4 address"
    return None


def _udp_port(port: object) -> str | None:
    is_port = isinstance(port, int) and 0 <= port < 65536
    return None if is_port else f"{port!r}: a port is 0 to 65535"


def _external(endpoint: object) -> str | None:
    if not isinstance(endpoint, Endpoint):
        return f"{endpoint!r} is not an Endpoint: write Endpoint(ADDRESS, PORT)"
    return None if is_usable(endpoint) else f"{endpoint}: not an endpoint that peers could send to"


def _stun(servers: object) -> str | None:
    if not isinstance(servers, tuple):
        return f"{servers!r} is not a tuple of HOST:PORT"
    return next((complaint for server in servers if (complaint := _stun_server(server)) is not None), None)


def _stun_server(server: object) -> str | None:
    try:
        host, port = split_host_port(str(server))
    except SettingsError as error:
        return str(error)
    if port == 0 or _HOST.fullmatch(host) is None:
        return f"{server!r} is not HOST:PORT: no server can have that name or port"
    return None


def _userspace(kind: object) -> str | None:
    return None if isinstance(kind, Userspace) else f"{kind!r} is not a Userspace"


_CHECKS: dict[str, Callable[[object], str | None]] = {
    "name": _name,
    "tun": _tun,
    "userspace": _userspace,
    "address": _address,
    "udp_port": _udp_port,
    "external": _external,
    "stun": _stun,
}
