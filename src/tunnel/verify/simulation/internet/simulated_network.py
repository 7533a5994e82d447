"""Builds a topology in an internet in memory, and changes it while programs run on it.

Each host and router has an access line of its own. Everything is addressed by its name in the topology.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tunnel.model.endpoint import Scope, scope_of
from tunnel.model.errors import SettingsError
from tunnel.model.routes import Gateway
from tunnel.verify.memory.host import MemoryHost
from tunnel.verify.memory.internet import MemoryInternet
from tunnel.verify.memory.overlay import MemoryOverlay
from tunnel.verify.memory.packet import MemoryPacket, Network
from tunnel.verify.memory.resolver import Trouble
from tunnel.verify.reachability.topology import SERVER, Line, Topology
from tunnel.verify.simulation.internet.gateway import GatewayServer
from tunnel.verify.simulation.internet.igd import NearestGateway, VirtualIgd
from tunnel.verify.simulation.internet.line import AccessLine
from tunnel.verify.simulation.internet.router import INNER6, RouterBox


@dataclass(frozen=True, slots=True)
class _Cut:
    """Packets between `near` and `far` are lost on near's line: those from it, those to it, or both."""

    near: str
    far: str
    udp: bool
    tcp: bool
    up: bool
    down: bool


class SimulatedNetwork:
    """A topology that was built. Made by `build_network`."""

    def __init__(
        self,
        internet: MemoryInternet,
        topology: Topology,
        seed: int,
        on_sent: Callable[[str, MemoryPacket], None] | None,
    ) -> None:
        self.internet = internet
        self.topology = topology
        self.hosts: dict[str, MemoryHost] = {}
        self.routers: dict[str, RouterBox] = {}
        self.lines: dict[str, AccessLine] = {}
        self.on_encapsulated: Callable[[str, MemoryPacket, float], None] = lambda _host, _packet, _age: None
        """Called with each packet that a host sends through an overlay in its own tunnel, and the overlay's age."""
        self._seed = seed
        self._gateway_servers: dict[str, GatewayServer] = {}
        self._on_sent = on_sent
        self._behind: dict[str, str | None] = {}
        self._unplugged: dict[str, tuple[str, ...]] = {}
        self._cuts: dict[tuple[str, str], _Cut] = {}
        self._chances: dict[str, random.Random] = {}

    def move(self, host: str, behind: str | None, *addresses: str) -> None:
        """Move a host behind another router, or to the internet itself, with other addresses.

        The line stays as it is. Streams of the old addresses hang.
        """
        machine = self.hosts[host]
        machine.change_addresses()
        line = self._draw_line(host, behind, self.lines[host].conditions)
        self._unplugged.pop(host, None)
        machine.move(line, *addresses)

    def unplug(self, host: str) -> None:
        """Unplug a host: it has no address any more, and is told so."""
        if host not in self._unplugged:
            self._unplugged[host] = self.hosts[host].addresses
            self.hosts[host].change_addresses()

    def plug(self, host: str) -> None:
        """Plug it in again, with its previous addresses."""
        addresses = self._unplugged.pop(host, None)
        if addresses is not None:
            self.hosts[host].change_addresses(*addresses)

    def cut(self, one: str, other: str, *, udp: bool = True, tcp: bool = True, both_ways: bool = True) -> None:
        """Lose what `one` sends to `other`, with `both_ways` also the reverse, until `lift`. Neither is told.

        Each is a host, a router or the server. It happens on the line of whichever of the two stands behind a router
        (`one`, if both do). There the other side is known by the addresses that it shows: its own, and those of the
        routers in front of it. So its neighbors behind the same NAT are cut off as well.
        """
        near_is_one = self._behind.get(one) is not None or self._behind.get(other) is None
        near, far = (one, other) if near_is_one else (other, one)
        up, down = both_ways or near_is_one, both_ways or not near_is_one
        before = self._cuts.get((one, other))
        self._cuts[one, other] = _Cut(near, far, udp, tcp, up, down)
        self._enforce_cuts(near)
        if before is not None and before.near != near:  # it has moved since
            self._enforce_cuts(before.near)

    def lift(self, one: str, other: str) -> None:
        """End the cuts between these two, whichever was named first."""
        for pair in ((one, other), (other, one)):
            cut = self._cuts.pop(pair, None)
            if cut is not None:
                self._enforce_cuts(cut.near)

    def overlay(
        self, one: str, other: str, addresses: Sequence[str], *, latency: float | None, mtu: int, encrypted: bool
    ) -> None:
        """Join two hosts by another VPN."""
        first, second = addresses
        MemoryOverlay(
            self.hosts[one],
            self.hosts[other],
            (first, second),
            latency=latency,
            mtu=mtu,
            encrypted=encrypted,
            on_encapsulated=self._see_encapsulated,
        )

    def _see_encapsulated(self, host: str, packet: MemoryPacket, age: float) -> None:
        self.on_encapsulated(host, packet, age)

    def lose_names(self, host: str, *, lost: bool = True, hang: bool = False, names: Sequence[str] = ()) -> None:
        """Make name lookups on this host fail (all, or these), at once or without an answer; or work again."""
        resolver = self.hosts[host].resolver
        trouble = (Trouble.HANGS if hang else Trouble.FAILS) if lost else None
        if not names:
            resolver.trouble = trouble
        for name in names:
            resolver.trouble_with.pop(name, None)
            if trouble is not None:
                resolver.trouble_with[name] = trouble

    def addresses_shown(self, name: str) -> tuple[str, ...]:
        """The addresses by which others see a host or router: its own, and those of the routers in front of it."""
        shown: list[str] = []
        at: str | None = name
        while at is not None:
            shown += self.hosts[at].addresses if at in self.hosts else (self.routers[at].address,)
            at = self._behind[at]
        return tuple(shown)

    def add_router(self, name: str) -> None:
        """Build one router; the routers in front of it must exist."""
        spec = self.topology.routers[name]
        line = self._draw_line(name, spec.behind, spec.line)
        chance = self._chance_of(f"router/{name}")
        router = self.routers[name] = RouterBox(
            name, spec, outside=line, ether=self.internet, chance=chance, names=self.internet.names
        )
        server = GatewayServer(router, chance=self._chance_of(f"gateway/{name}"))
        router.gateway_server = self._gateway_servers[name] = server

    def add_host(self, name: str, addresses: tuple[str, ...], behind: str | None, conditions: Line) -> None:
        """Add a machine."""
        line = self._draw_line(name, behind, conditions)
        host = self.hosts[name] = self.internet.add_host(name, *addresses, network=line)
        host.port_mapper = VirtualIgd(partial(self._nearest_gateway, name))
        host.interfaces.find_gateways = partial(self._gateways_of, name)
        if self._on_sent is not None:
            host.on_sent = partial(self._on_sent, name)

    def _nearest_gateway(self, host: str) -> NearestGateway | None:
        """The gateway that this host asks for ports now."""
        behind = self._behind[host]
        inner = next((address for address in self.hosts[host].addresses if ":" not in address), None)
        return (
            NearestGateway(self._gateway_servers[behind], inner) if behind is not None and inner is not None else None
        )

    def _gateways_of(self, host: str) -> tuple[Gateway, ...]:
        """The next hops of its default routes; none if it is attached to the internet's core."""
        behind = self._behind[host]
        if behind is None:
            return ()
        addresses = self.hosts[host].addresses
        own4 = [address for address in addresses if ":" not in address]
        own6 = [address for address in addresses if ":" in address and scope_of(address) is Scope.GLOBAL]
        inner = self.routers[behind].spec.inner
        return (*(Gateway(inner, own) for own in own4[:1]), *(Gateway(INNER6, own) for own in own6[:1]))

    def _draw_line(self, name: str, behind: str | None, conditions: Line) -> AccessLine:
        network: Network = self.internet
        if behind is not None:
            if behind not in self.routers:
                raise SettingsError(f"{name} stands behind {behind!r}, which is no router")
            network = self.routers[behind].inside
        self._behind[name] = behind
        line = AccessLine(network, conditions, ether=self.internet, chance=self._chance_of(f"line/{name}"))
        self.lines[name] = line
        self._enforce_cuts(name)
        return line

    def _chance_of(self, what: str) -> random.Random:
        if what not in self._chances:
            self._chances[what] = random.Random(f"{self._seed}/{what}")  # noqa: S311 - repeatable on purpose
        return self._chances[what]

    def _enforce_cuts(self, name: str) -> None:
        cuts = [cut for cut in self._cuts.values() if cut.near == name]
        self.lines[name].refuses = partial(self._is_cut, cuts) if cuts else None

    def _is_cut(self, cuts: list[_Cut], packet: MemoryPacket, up: bool) -> bool:
        far = packet.destination.host if up else packet.source.host
        for cut in cuts:
            counts = (cut.up if up else cut.down) and (cut.tcp if packet.is_stream else cut.udp)
            if counts and far in self.addresses_shown(cut.far):
                return True
        return False


def build_network(
    internet: MemoryInternet,
    topology: Topology,
    *,
    seed: int,
    on_sent: Callable[[str, MemoryPacket], None] | None = None,
) -> SimulatedNetwork:
    """Build a topology. `on_sent(host, packet)` is called with each packet as its host sends it.

    Raises SettingsError if it is impossible: a name or an address given twice, a router behind itself.
    """
    _check_names(topology)
    internet.latency = topology.latency
    for (one, other), latency in topology.latencies.items():
        internet.set_latency(one, other, latency)
    net = SimulatedNetwork(internet, topology, seed, on_sent)
    server = topology.server
    try:
        for name in _outer_first(topology):
            net.add_router(name)
        net.add_host(SERVER, server.addresses, None, server.line)
        for stun in topology.stun_servers:
            net.add_host(stun.name, (stun.address,), None, Line())
        for name, host in topology.hosts.items():
            net.add_host(name, host.addresses, host.behind, host.line)
            net.hosts[name].mtu = host.mtu
    except ValueError as error:
        raise SettingsError(f"the network is impossible: {error}") from error
    return net


def _check_names(topology: Topology) -> None:
    stun = [server.name for server in topology.stun_servers]
    names = [SERVER, *stun, *topology.routers, *topology.hosts]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"{name!r} is the name of two things")
    behind = {name: router.behind for name, router in topology.routers.items()}
    behind |= {name: host.behind for name, host in topology.hosts.items()}
    plugged_in = [SERVER, *stun, *(name for name in behind if behind[name] is None)]
    for pair in topology.latencies:
        for name in pair:
            if name not in plugged_in:
                raise SettingsError(f"a latency is given for {name!r}, which is not plugged into the internet's core")


def _outer_first(topology: Topology) -> list[str]:
    """The names of the routers, each after the one in front of it."""
    ordered: list[str] = []
    waiting = list(topology.routers)
    while waiting:
        ready = [name for name in waiting if topology.routers[name].behind in (None, *ordered)]
        if not ready:
            raise SettingsError(f"these routers stand behind no router that leads out: {', '.join(waiting)}")
        ordered += ready
        waiting = [name for name in waiting if name not in ready]
    return ordered
