"""`server`: runs the server until a signal, and prints where it serves."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import Parameter

from tunnel.cli import launch
from tunnel.cli.default_paths import default_state, make_folder, shown_path
from tunnel.cli.device_remedies import adding_remedies
from tunnel.cli.logs import start_logging
from tunnel.cli.options import Flat, RunOptions, parse_named_endpoint
from tunnel.cli.state_lock import SERVER, holding
from tunnel.cli.unix_signals import run_until_signal
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import SettingsError
from tunnel.model.offload import offload_names, parse_offloads
from tunnel.model.settings import NODES_PER_ADDRESS, SERVER_PORT, STUN_PORTS, ServerSettings

log = logging.getLogger(__name__)
_TAKEN = "stop it, or give this one a folder of its own with --state"


def _default_state() -> Path:
    return default_state() / "server"


ServersStateOption = Annotated[
    Path | None,
    Parameter(
        name="--state", help="Folder of certificate and leases.", show_default=lambda _: shown_path(_default_state)
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The options of `server` as text; `settings` parses them."""

    listen: Annotated[str, Parameter(help=f"HOST:PORT for nodes (TLS); the port is {SERVER_PORT} if left out.")] = (
        f"0.0.0.0:{SERVER_PORT}"
    )
    also_listen: Annotated[
        tuple[str, ...],
        Parameter(help="Another HOST:PORT for nodes, repeatable: [IPV6]:PORT for those that have no IPv4."),
    ] = ()
    udp: Annotated[
        tuple[str, ...],
        Parameter(
            help="HOST:PORT for STUN and UDP relay, repeatable; 3478 and 3479 of the listening hosts if left out."
        ),
    ] = ()
    http: Annotated[
        str | None,
        Parameter(help="HOST:PORT for /healthz, /metrics and /status; loopback, the port after --listen's."),
    ] = None
    state: ServersStateOption = None
    certificate: Annotated[Path | None, Parameter(help="TLS certificate (PEM); self-made and pinned if left out.")] = (
        None
    )
    private_key: Annotated[Path | None, Parameter(help="File with the certificate's private key (PEM).")] = None
    no_udp_relay: Annotated[bool, Parameter(help="Relay over TLS only, not over UDP.")] = False
    max_connections_per_address: Annotated[
        int, Parameter(help="Nodes online from one IPv4 address or IPv6 /48, such as an office behind a NAT.")
    ] = NODES_PER_ADDRESS
    without_offload: Annotated[
        tuple[str, ...],
        Parameter(help=f"Do without this offload of the kernel, repeatable: {offload_names()}."),
    ] = ()
    addresses: Annotated[
        str, Parameter(help="IPv4 pool of each network's tunnel addresses, a prefix of 8 to 30 bits.")
    ] = "10.86.0.0/16"

    def settings(self) -> ServerSettings:
        """Parsed and checked. Raises SettingsError."""
        listen = parse_named_endpoint("--listen", self.listen, SERVER_PORT)
        if (self.certificate is None) != (self.private_key is None):
            raise SettingsError("--certificate and --private-key go together")
        after = Endpoint("127.0.0.1", listen.port + 1 if 0 < listen.port < 65535 else 0)
        return ServerSettings(
            listen=listen,
            also_listen=tuple(parse_named_endpoint("--also-listen", text, SERVER_PORT) for text in self.also_listen),
            udp=tuple(parse_named_endpoint("--udp", text, STUN_PORTS[0]) for text in self.udp),
            http=after if self.http is None else parse_named_endpoint("--http", self.http),
            state=self.state or _default_state(),
            certificate=self.certificate,
            private_key=self.private_key,
            addresses=_pool(self.addresses),
            max_connections_per_address=self._most_per_address(),
            udp_relay=not self.no_udp_relay,
            without_offloads=parse_offloads(self.without_offload),
        )

    def _most_per_address(self) -> int:
        if self.max_connections_per_address < 1:
            raise SettingsError(f"--max-connections-per-address {self.max_connections_per_address} lets nobody in")
        return self.max_connections_per_address


async def server(
    *, options: Annotated[ServerOptions | None, Flat] = None, running: Annotated[RunOptions | None, Flat] = None
) -> int:
    """Run the server: rendezvous, STUN and relay. Prints `ready URL PIN` when it serves."""
    settings = (options or ServerOptions()).settings()
    launch.guard_memory()
    chosen = running or RunOptions()
    start_logging(chosen.log_level, libraries=chosen.log_libraries)
    state = settings.state or _default_state()
    make_folder(state, "--state")

    async def program() -> None:
        async with trio.open_nursery() as nursery:
            ready = await nursery.start(launch.serve_here, settings)
            print("ready", ready.url, *([] if ready.pin is None else [_pin_text(ready.pin)]), flush=True)
            log.info("serving", extra={"stun": " ".join(map(str, ready.stun)), "http": ready.http})

    with holding(state, SERVER, who="a server", remedy=_TAKEN), adding_remedies(_options_of_ports(settings)):
        return await run_until_signal(program)


def _options_of_ports(settings: ServerSettings) -> dict[str, str]:
    places = (settings.listen, *settings.also_listen)
    stun = settings.udp or tuple(Endpoint(host, port) for host, _ in places for port in STUN_PORTS)
    listeners = {f"TCP {settings.http}": "--http", f"TCP {settings.listen}": "--listen"}
    listeners |= {f"TCP {endpoint}": "--also-listen" for endpoint in settings.also_listen}
    return {**listeners, **{f"UDP {endpoint}": "--udp" for endpoint in stun}}


def _pin_text(pin: bytes) -> str:
    from tunnel.network.tls import pin_text

    return pin_text(pin)


def _pool(text: str) -> str:
    import ipaddress

    try:
        pool = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise SettingsError(f"--addresses {text!r} is not an IPv4 network such as 10.86.0.0/16") from None
    if str(pool.network_address) != text.partition("/")[0]:
        raise SettingsError(f"--addresses {text!r} is an address within a network: write {pool}")
    if pool.prefixlen > 30:
        raise SettingsError(f"--addresses: {text} has no room for two nodes")
    return str(pool)
