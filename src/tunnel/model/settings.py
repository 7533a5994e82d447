"""What a person may choose. Options, settings files and the library all fill these values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tunnel.model.endpoint import Endpoint
from tunnel.model.interface_kind import InterfaceKind, Userspace
from tunnel.model.offload import Offload
from tunnel.model.protocol_version import PROTOCOL_VERSION
from tunnel.model.timings import DEFAULT_TIMINGS, Timings

SERVER_PORT = 8443
STUN_PORTS = (3478, 3479)
DEFAULT_TUN = "p2pt0"
TUNNEL_MTU = 1400
"""Largest inner packet. A record of one then fits one packet of 1500 bytes in the worst case: 1400, 10 of its virtio
header, 32 of the seal, 10 of a circuit's head, 48 of UDP and IPv6. Where less passes it goes in fragments."""

PUBLIC_STUN: tuple[str, ...] = (
    "stun.l.google.com:19302",
    "stun1.l.google.com:19302",
    "stun2.l.google.com:19302",
    "stun.cloudflare.com:3478",
    "stun.twilio.com:3478",
    "stun.stunprotocol.org:3478",
    "stun.ekiga.net:3478",
    "stun.ideasip.com:3478",
    "stun.sipgate.net:3478",
    "stun.voip.eutelia.it:3478",
)
"""Asked by default, beside our own server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """How one node behaves. The invite (server, network, secret) is passed separately, since it is a secret."""

    name: str = ""
    """What the others call this node. If it is empty, the library takes the host name."""
    state: Path | None = None
    control: Path | None = None
    tun: str | None = None
    """Name of the TUN interface on this machine; None: the node has none there, and runs in userspace."""
    userspace: Userspace | None = None
    """What a node in userspace has in its place. With `tun` too: what it has if this machine does not allow that one.
    """
    address: str | None = None
    """IPv4 tunnel address to ask the server for."""
    udp_port: int = 0
    external: Endpoint | None = None
    """A public endpoint that the user has forwarded to this node."""
    survey: bool = True
    port_mapping: bool = True
    """Ask the gateway to open a port: UPnP, NAT-PMP, PCP."""
    relay_only: bool = False
    udp: bool = True
    """False: no UDP is sent, except to name servers; all traffic goes over the link to the server."""
    stun: tuple[str, ...] = ()
    default_stun: bool = True
    keep_datagrams: bool = True
    """Keep what peers send by `send_datagram` until the program reads it. `up` never reads it."""
    mtu: int = TUNNEL_MTU
    without_offloads: frozenset[Offload] = frozenset()
    """Offloads of the kernel that are not used, although it may have them."""
    """Bytes of the largest packet inside the tunnel. It does not depend on any path (docs/design/path-mtu.md)."""
    protocol_version: int = PROTOCOL_VERSION
    """What this node tells others that it speaks. Only tests and simulations tell another."""
    timings: Timings = DEFAULT_TIMINGS

    @property
    def interfaces(self) -> tuple[InterfaceKind, ...]:
        """The kinds of interface that are wanted, the best first."""
        kernel = () if self.tun is None else (InterfaceKind.KERNEL,)
        match self.userspace:
            case None:
                return kernel or (InterfaceKind.PYTHON,)
            case Userspace.AUTO:
                return (*kernel, InterfaceKind.NAMESPACE, InterfaceKind.PYTHON)
            case Userspace.NAMESPACE:
                return (*kernel, InterfaceKind.NAMESPACE)
            case Userspace.PYTHON:
                return (*kernel, InterfaceKind.PYTHON)


NODES_PER_ADDRESS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How the server behaves. Sizes are bytes, rates are per second."""

    listen: Endpoint = Endpoint("0.0.0.0", SERVER_PORT)
    also_listen: tuple[Endpoint, ...] = ()
    """More addresses for nodes: an IPv6 one beside an IPv4 one."""
    udp: tuple[Endpoint, ...] = ()
    """STUN endpoints; empty means both STUN ports of each listening host."""
    http: Endpoint | None = None
    state: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    addresses: str = "10.86.0.0/16"
    """The pool from which each network's nodes get their IPv4 tunnel addresses."""
    max_connections: int = 4096
    """Connections of registered nodes."""
    max_strangers: int = 1024
    """Connections that have not registered yet, in addition to those of registered nodes."""
    max_strangers_per_address: int = 64
    """For one IPv4 address or IPv6 /64; an IPv6 /48 may have four times as many, here and in the rates."""
    max_connections_per_address: int = NODES_PER_ADDRESS
    """Registered nodes from one IPv4 address or IPv6 /48, in all networks together: an office behind one NAT."""
    max_connects_per_address_rate: float = 5.0
    max_connects_per_address_burst: int = 64
    """Many nodes behind one NAT dial at once when the server comes back."""
    max_nodes_per_network: int = 1024
    max_signals_rate: float = 50.0
    max_announcement: int = 4096
    max_message: int = 65536
    relay_queue: int = 1024 * 1024
    """For one sender to one receiver: some 5 ms at 1.5 Gbit/s."""
    relay_memory: int = 256 * 1024 * 1024
    """Of all relay queues together."""
    relay_rate: float = 512 * 1024 * 1024
    """For one node, through both relays together. Turns make them share what the machine carries, so this only has to
    keep one from taking what the line to the internet carries."""
    udp_relay: bool = True
    without_offloads: frozenset[Offload] = frozenset()
    """As for a node."""
    stun_rate: float = 200.0
    """Answers per second to one source address, and as many circuit binds."""
    timings: Timings = field(default=DEFAULT_TIMINGS)
