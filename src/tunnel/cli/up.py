"""`up`: runs this machine's node until a signal, or until `down`."""

from __future__ import annotations

import logging
import socket
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import trio
from cyclopts import Parameter

from tunnel.cli import launch
from tunnel.cli.default_paths import default_control, default_state, make_folder
from tunnel.cli.device_remedies import adding_remedies
from tunnel.cli.invite_input import read_invite_file, stored_invite
from tunnel.cli.logs import PeerNames, start_logging
from tunnel.cli.options import ControlOption, Flat, RunOptions, StateOption, parse_named_endpoint
from tunnel.cli.state_lock import NODE, holding
from tunnel.cli.unix_signals import run_until_signal
from tunnel.cli.up_messages import name_of, report_notes, report_peers, report_up
from tunnel.model.endpoint import split_host_port
from tunnel.model.errors import SettingsError
from tunnel.model.interface_kind import Userspace
from tunnel.model.offload import offload_names, parse_offloads
from tunnel.model.settings import DEFAULT_TUN, NodeSettings
from tunnel.model.settings_check import check_node_settings, fit_name
from tunnel.node.control import serve_control

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """The options of `up` as text; `settings` parses them."""

    name: Annotated[str | None, Parameter(help="Name of this node for its peers; the host name if left out.")] = None
    state: StateOption = None
    control: ControlOption = None
    tun: Annotated[str | None, Parameter(help=f"Name of the TUN interface; {DEFAULT_TUN} if left out.")] = None
    userspace: Annotated[
        bool | Literal["namespace", "python"],
        Parameter(
            help="No interface on this machine, so no privilege needed: one in a network namespace of the node's own, "
            "or none. Without --tun `up` does that by itself where it has no right to an interface."
        ),
    ] = False
    address: Annotated[str | None, Parameter(help="IPv4 tunnel address to ask the server for.")] = None
    udp_port: Annotated[int, Parameter(help="UDP port for everything; 0 takes a free one.")] = 0
    external: Annotated[str | None, Parameter(help="IP:PORT on your router that you forward to --udp-port.")] = None
    no_survey: Annotated[bool, Parameter(help="Ask no STUN server.")] = False
    no_port_mapping: Annotated[bool, Parameter(help="Ask no gateway to open a port (UPnP, NAT-PMP, PCP).")] = False
    relay_only: Annotated[bool, Parameter(help="Never use a direct path.")] = False
    no_udp: Annotated[
        bool, Parameter(help="Use TCP only: reach every peer over the server's relay, with no UDP at all.")
    ] = False
    stun: Annotated[tuple[str, ...], Parameter(help="Another STUN server, HOST:PORT, repeatable.")] = ()
    no_default_stun: Annotated[bool, Parameter(help="Do not ask the ten public STUN servers.")] = False
    without_offload: Annotated[
        tuple[str, ...],
        Parameter(help=f"Do without this offload of the kernel, repeatable: {offload_names()}."),
    ] = ()

    def settings(self) -> NodeSettings:
        """Parsed and checked. Raises SettingsError."""
        if self.tun is not None and self.userspace:
            raise SettingsError("--tun and --userspace exclude each other")
        settings = NodeSettings(
            name=fit_name(socket.gethostname()) if self.name is None else self.name,
            state=self.state or default_state(),
            control=self.control or default_control(self.state),
            tun=None if self.userspace else DEFAULT_TUN if self.tun is None else self.tun,
            userspace=self._userspace(),
            address=self.address,
            udp_port=self.udp_port,
            external=None if self.external is None else parse_named_endpoint("--external", self.external),
            survey=not self.no_survey,
            port_mapping=not self.no_port_mapping,
            relay_only=self.relay_only,
            udp=not self.no_udp,
            stun=tuple(_stun(text) for text in self.stun),
            default_stun=not self.no_default_stun,
            keep_datagrams=False,
            without_offloads=parse_offloads(self.without_offload),
        )
        check_node_settings(settings, _option)
        return settings

    def _userspace(self) -> Userspace | None:
        if isinstance(self.userspace, str):
            return Userspace(self.userspace)
        return Userspace.AUTO if self.userspace or self.tun is None else None


async def up(
    *,
    options: Annotated[UpOptions | None, Flat] = None,
    invite_file: Annotated[
        Path | None, Parameter(help="File with the invite; the one that `join` kept if left out.")
    ] = None,
    running: Annotated[RunOptions | None, Flat] = None,
) -> int:
    """Run this machine's node until told to stop.

    It carries IP packets from one node to another, but no broadcast and no multicast.
    """
    settings = (options or UpOptions()).settings()
    state, control = settings.state or default_state(), settings.control or default_control(settings.state)
    launch.guard_memory()
    chosen, names = running or RunOptions(), PeerNames()
    start_logging(chosen.log_level, names=names, libraries=chosen.log_libraries)
    invite = stored_invite(state) if invite_file is None else read_invite_file(invite_file)
    make_folder(state, "--state")
    make_folder(control.parent, "--control")
    _warn_of_random_port(settings)

    world = launch.this_machine(state, settings.without_offloads)
    ports = {f"UDP 0.0.0.0:{settings.udp_port}": "--udp-port"}

    async def program() -> None:
        with trio.CancelScope() as whole:
            async with (
                aclosing(await world.controls.open_listener(control)) as listener,
                launch.node_here(invite, settings, world) as node,
                trio.open_nursery() as nursery,
            ):
                names.use(partial(name_of, node))
                await nursery.start(partial(serve_control, listener, node, end=partial(_end, whole)))
                nursery.start_soon(report_up, node, invite.network, control)
                nursery.start_soon(report_peers, node)
                nursery.start_soon(report_notes, node)

    with holding(state, NODE, who="a node", remedy=_remedy(options)), adding_remedies(ports):
        return await run_until_signal(program)


def _end(whole: trio.CancelScope) -> None:
    log.info("told to end, by `down`")
    whole.cancel()


def _remedy(options: UpOptions | None) -> str:
    """What to do if a node runs on that folder already."""
    where = "" if options is None or options.state is None else f" --state {options.state}"
    return f"end it with `p2ptunnel-trio down{where}`, or give this one a folder of its own with --state"


def _option(field: str) -> str:
    return "--" + field.replace("_", "-")


def _warn_of_random_port(settings: NodeSettings) -> None:
    """A router forwards to one port: a node that takes a random one gets nothing there."""
    if settings.external is not None and not settings.udp_port:
        log.warning(
            "--external %s without --udp-port: this node takes a random UDP port, to which nothing is forwarded; "
            "add --udp-port with the port that the router forwards to",
            settings.external,
        )


def _stun(text: str) -> str:
    """HOST:PORT in the form of the settings, IPv6 in brackets. What is wrong with it, they say."""
    try:
        host, port = split_host_port(text)
    except SettingsError:
        return text
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
