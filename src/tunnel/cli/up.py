"""`up`: run this machine's node until a signal."""

from __future__ import annotations

import ipaddress
import re
import socket
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import Parameter

from tunnel.cli import programs
from tunnel.cli.invites import read_invite_file, stored_invite
from tunnel.cli.logs import start_logging
from tunnel.cli.options import ControlOption, Flat, Running, StateOption
from tunnel.cli.places import default_control, default_state, make_folder
from tunnel.cli.remedies import naming_remedies
from tunnel.cli.signals import run_until_signal
from tunnel.cli.telling import tell_peers, tell_up
from tunnel.model.announcement import MAX_NAME
from tunnel.model.endpoint import is_usable, parse_endpoint, split_host_port
from tunnel.model.errors import SettingsError
from tunnel.model.settings import NodeSettings
from tunnel.node.control import serve_control

DEFAULT_TUN = "p2pt0"
_MAX_TUN = 15  # IFNAMSIZ - 1
_HOST = re.compile(r"[\w.:%-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """The options of `up`, as texts; `settings` gives them their meaning."""

    name: Annotated[str | None, Parameter(help="What the others call this node; the host name if left out.")] = None
    state: StateOption = None
    control: ControlOption = None
    tun: Annotated[str | None, Parameter(help=f"Name of the TUN interface; {DEFAULT_TUN} if left out.")] = None
    userspace: Annotated[bool, Parameter(help="No TUN interface, so no privilege needed: ping and library only.")] = (
        False
    )
    address: Annotated[str | None, Parameter(help="IPv4 tunnel address to ask the server for.")] = None
    udp_port: Annotated[int, Parameter(help="UDP port for everything; 0 takes a free one.")] = 0
    external: Annotated[str | None, Parameter(help="IP:PORT on your router that you forward to --udp-port.")] = None
    no_survey: Annotated[bool, Parameter(help="Ask no STUN server.")] = False
    no_port_mapping: Annotated[bool, Parameter(help="Ask no gateway to open a port (UPnP, NAT-PMP, PCP).")] = False
    relay_only: Annotated[bool, Parameter(help="Never use a direct path.")] = False
    stun: Annotated[tuple[str, ...], Parameter(help="Another STUN server, HOST:PORT, repeatable.")] = ()
    no_default_stun: Annotated[bool, Parameter(help="Do not ask the ten public STUN servers.")] = False

    def settings(self) -> NodeSettings:
        """Checked as far as text can be. Raises SettingsError."""
        if self.tun is not None and self.userspace:
            raise SettingsError("--tun and --userspace exclude each other")
        if not 0 <= self.udp_port < 65536:
            raise SettingsError(f"--udp-port {self.udp_port}: a port is 0 to 65535")
        external = None if self.external is None else parse_endpoint(self.external)
        if external is not None and not is_usable(external):
            raise SettingsError(f"--external {external}: not an endpoint that peers could send to")
        return NodeSettings(
            name=_name(self.name),
            state=self.state or default_state(),
            control=self.control or default_control(self.state),
            tun=None if self.userspace else _tun(self.tun or DEFAULT_TUN),
            address=None if self.address is None else _ipv4(self.address),
            udp_port=self.udp_port,
            external=external,
            survey=not self.no_survey,
            port_mapping=not self.no_port_mapping,
            relay_only=self.relay_only,
            stun=tuple(_stun(text) for text in self.stun),
            default_stun=not self.no_default_stun,
        )


async def up(
    *,
    options: Annotated[UpOptions | None, Flat] = None,
    invite_file: Annotated[
        Path | None, Parameter(help="File with the invite; the one that `join` kept if left out.")
    ] = None,
    running: Annotated[Running | None, Flat] = None,
) -> int:
    """Run this machine's node until told to stop."""
    settings = (options or UpOptions()).settings()
    state, control = settings.state or default_state(), settings.control or default_control()
    start_logging((running or Running()).log_level)
    invite = stored_invite(state) if invite_file is None else read_invite_file(invite_file)
    make_folder(state, "--state")
    make_folder(control.parent, "--control")

    world = programs.this_machine(state)

    async def program() -> None:
        async with (
            aclosing(await world.controls.open_listener(control)) as listener,
            programs.node_here(invite, settings, world) as node,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(serve_control, listener, node)
            nursery.start_soon(tell_up, node, invite.network, control)
            nursery.start_soon(tell_peers, node)

    with naming_remedies({f"UDP 0.0.0.0:{settings.udp_port}": "--udp-port"}):
        return await run_until_signal(program)


def _name(chosen: str | None) -> str:
    name = socket.gethostname() if chosen is None else chosen
    if not name or len(name.encode()) > MAX_NAME or not name.isprintable() or name != name.strip():
        raise SettingsError(f"--name {name!r}: a name has 1 to {MAX_NAME} bytes, all printable")
    return name


def _tun(name: str) -> str:
    if not 0 < len(name.encode()) <= _MAX_TUN or "/" in name or any(c.isspace() for c in name) or name in (".", ".."):
        raise SettingsError(f"--tun {name!r}: an interface name has 1 to {_MAX_TUN} characters, no space and no slash")
    return name


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise SettingsError(f"--address {text!r} is not an IPv4 address") from None


def _stun(text: str) -> str:
    try:
        host, port = split_host_port(text)
    except SettingsError as error:
        raise SettingsError(f"--stun {error}") from None
    if port == 0 or _HOST.fullmatch(host) is None:
        raise SettingsError(f"--stun {text!r} is not HOST:PORT: no server can have that name or port")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
