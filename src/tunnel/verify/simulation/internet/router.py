"""One router: an owner of addresses outside, a network for the hosts inside, and the rules between.

    outside: the internet, or another router's inside       deliver --> translate or filter --> LAN --> host
       line |                                               transmit <-- translate or filter <-- LAN <-- host
       RouterBox -- Lan: hosts, inner routers, and the router's own inner address, where its gateway listens

Hosts of one LAN reach each other directly. A packet that would leave with no hop left expires first and leaves no trace
in any table: a packet with TTL 2 opens the first NAT on its way and dies before the second.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol

import trio

from tunnel.model.endpoint import Endpoint, Scope, scope_of
from tunnel.model.transport import Transport
from tunnel.verify.memory.packet import Ether, Fate, MemoryPacket, Network, Owner, Segment, SegmentKind
from tunnel.verify.reachability.topology import Hairpinning, Nat, Router, Udp, Unsolicited
from tunnel.verify.simulation.internet.firewall import Firewall
from tunnel.verify.simulation.internet.openings import datagram_policy, stream_policy
from tunnel.verify.simulation.internet.pinholes import Pinholes
from tunnel.verify.simulation.internet.static_mappings import StaticMappings
from tunnel.verify.simulation.internet.translator import Translator

LAN_LATENCY = 0.0005
WEB_PORTS = (443, 8443)
INNER6 = "fe80::1"
"""The address of every router on its own LAN in IPv6."""
GATEWAY_PORT = 5351
"""The port of NAT-PMP and PCP (RFC 6886, RFC 6887)."""


class PortControl(Protocol):
    """Answers hosts inside that ask the router for a port mapping."""

    def handle_untrusted(self, payload: bytes, source: Endpoint) -> bytes | None:
        """The answer to a datagram from inside; None for silence."""
        ...


class RouterBox:
    """A router as its spec says.

    `spec` may be replaced; with another `nat` all mappings vanish. Its `behind` and `line` are not used here.
    """

    def __init__(
        self,
        name: str,
        spec: Router,
        *,
        outside: Network,
        ether: Ether,
        chance: random.Random,
        names: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.name = name
        self.gateway_server: PortControl | None = None
        self.statics = StaticMappings()
        self.pinholes = Pinholes()
        self.booted_at = trio.current_time()
        """When it last started: gateways report the seconds since then as their epoch."""
        self.outside = outside
        self._spec = spec
        self._ether = ether
        self._chance = chance
        self._names = names
        self._build_tables()
        self.inside = Lan(self, ether)
        self.inside.attach(spec.inner, Counter(self, ether))
        self.inside.attach(INNER6, Counter(self, ether))
        outside.attach(spec.address, self)

    @property
    def spec(self) -> Router:
        """Its present behavior."""
        return self._spec

    @spec.setter
    def spec(self, spec: Router) -> None:
        old, self._spec = self._spec, spec
        if spec.address != old.address:
            self._swap_address(old.address, spec.address)
        if spec.inner != old.inner:
            self.inside.detach(old.inner)
            self.inside.attach(spec.inner, Counter(self, self._ether))
        if (spec.nat, spec.filtering6) != (old.nat, old.filtering6):
            self._build_tables()
            self.inside.expose_anew()

    @property
    def address(self) -> str:
        """The outer IPv4 address."""
        return self._spec.address

    def change_address(self, address: str) -> None:
        """Take another outer address: dynamic mappings vanish, static ones stay."""
        old = self._spec
        self._spec = replace(old, address=address)
        self._swap_address(old.address, address)

    def reboot(self) -> None:
        """Restart: all mappings vanish, including static ones, and the epoch begins anew."""
        self._build_tables()
        self.booted_at = trio.current_time()

    def forget_mappings(self) -> None:
        """Forget the dynamic mappings and the openings of the firewall."""
        if self._translator is not None:
            self._translator.forget()
        self._build_firewalls()

    def live_mappings(self, inner_host: str, transport: Transport = Transport.UDP) -> int:
        """How many dynamic mappings an inner address has now."""
        if self._translator is None:
            return 0
        return self._translator.live_mappings(inner_host, transport, trio.current_time())

    def translates(self, address: str) -> bool:
        """Whether it translates this inner address."""
        return self._translator is not None and ":" not in address

    def forward(self, packet: MemoryPacket) -> None:
        """Forward a packet from inside."""
        destination, segment = packet.destination, packet.segment
        if packet.ttl <= 1:
            self._ether.settle(packet, Fate.EXPIRED)
            return
        if self._is_strict and not self._lets_out(packet):
            self._ether.settle(packet, Fate.FILTERED)
            return
        now = trio.current_time()
        source: Endpoint | None = packet.source
        translator = self._translator
        if translator is None or ":" in destination.host:
            if destination.host == self._spec.address:
                self._ether.settle(packet, Fate.UNWANTED)
                return
            (self._datagram_wall if segment is None else self._stream_wall).leave(packet.source, destination, now)
        elif destination.host == self._spec.address:
            self._hairpin(translator, packet, now)
            return
        else:
            source = translator.outward(packet, now)
        if source is None:
            self._ether.settle(packet, Fate.FILTERED)
        else:
            self.outside.transmit(MemoryPacket(source, destination, packet.payload, packet.ttl - 1, segment))

    def deliver(self, packet: MemoryPacket) -> None:
        """A packet from outside has arrived, for its own address or for a host that it does not translate."""
        now = trio.current_time()
        destination, segment = packet.destination, packet.segment
        if segment is None and self._spec.udp is not Udp.OPEN:
            self._ether.settle(packet, Fate.FILTERED)
            return
        translator = self._translator
        if destination.host != self._spec.address:
            if packet.ttl <= 1:
                self._ether.settle(packet, Fate.EXPIRED)
                return
            wall = self._datagram_wall if segment is None else self._stream_wall
            transport = Transport.UDP if segment is None else Transport.TCP
            is_open = wall.enter(destination, packet.source, now) or self.pinholes.admits(transport, destination)
            inner = destination if is_open else None
        elif translator is None:
            self._ether.settle(packet, Fate.UNWANTED)
            return
        else:
            inner = translator.inward(packet, now)
            if inner is None:
                self._refuse(translator, packet, now)
                return
        if inner is None:
            self._ether.settle(packet, Fate.FILTERED)
        elif packet.ttl <= 1:
            self._ether.settle(packet, Fate.EXPIRED)
        else:
            self.inside.bring(MemoryPacket(packet.source, inner, packet.payload, packet.ttl - 1, segment))

    def _refuse(self, translator: Translator, packet: MemoryPacket, now: float) -> None:
        translator.note_unsolicited(packet, now)
        segment = packet.segment
        is_attempt = segment is not None and segment.kind is SegmentKind.CONNECT
        if is_attempt and translator.nat.unsolicited is Unsolicited.RESET:
            self.outside.transmit(reset_for(packet))
        self._ether.settle(packet, Fate.FILTERED)

    def _hairpin(self, translator: Translator, packet: MemoryPacket, now: float) -> None:
        """From inside to our own outer address, and back (RFC 4787, section 6)."""
        hairpinning = translator.nat.hairpinning
        outer = None if hairpinning is Hairpinning.NONE else translator.outward(packet, now)
        if outer is None:
            self._ether.settle(packet, Fate.FILTERED)
            return
        turned = MemoryPacket(outer, packet.destination, packet.payload, packet.ttl, packet.segment)
        inner = translator.inward(turned, now)
        if inner is None:
            self._ether.settle(packet, Fate.FILTERED)
            return
        source = outer if hairpinning is Hairpinning.EXTERNAL_SOURCE else packet.source
        self.inside.transmit(MemoryPacket(source, inner, packet.payload, packet.ttl - 1, packet.segment))

    def _lets_out(self, packet: MemoryPacket) -> bool:
        spec, destination = self._spec, packet.destination
        if spec.udp is not Udp.OPEN:
            if packet.segment is None:
                return False
            if spec.udp is Udp.WEB_ONLY and destination.port not in WEB_PORTS:
                return False
        return not any(
            blocked == destination.host or destination.host in self._names.get(blocked, ()) for blocked in spec.blocked
        )

    @property
    def _is_strict(self) -> bool:
        return self._spec.udp is not Udp.OPEN or bool(self._spec.blocked)

    def _swap_address(self, old: str, new: str) -> None:
        self.outside.detach(old)
        self.outside.attach(new, self)
        if self._translator is not None:
            self._translator.address = new
            self._translator.forget()

    def _build_tables(self) -> None:
        """Start with empty tables."""
        nat = self._spec.nat
        self._translator: Translator | None = None
        if nat is None:
            self.statics.begin_anew({})
        else:
            self._translator = Translator(nat, self._spec.address, self.statics, self._chance)
        self.pinholes.forget()
        self._build_firewalls()

    def _build_firewalls(self) -> None:
        filtering = self._spec.filtering6
        self._datagram_wall = Firewall(datagram_policy(self._spec.nat or Nat(), filtering))
        self._stream_wall = Firewall(stream_policy(filtering))


class Lan:
    """The inside of a router: a network for hosts and inner routers."""

    def __init__(self, router: RouterBox, ether: Ether) -> None:
        self._router = router
        self._ether = ether
        self._owners: dict[str, Owner] = {}
        self._exposed: dict[str, None] = {}

    def attach(self, address: str, owner: Owner) -> None:
        """Give an address to an owner, outside too if it is valid there. Raises ValueError if it is taken."""
        if address in self._owners:
            raise ValueError(f"{address} belongs to {self._owners[address].name}")
        self._owners[address] = owner
        self._expose(address)

    def detach(self, address: str) -> None:
        """Take it back."""
        del self._owners[address]
        self._cover(address)

    def transmit(self, packet: MemoryPacket) -> None:
        """A packet from a host inside: to a neighbor, or out."""
        host = packet.destination.host
        owner = self._owners.get(host)
        if owner is not None:
            self._ether.schedule(LAN_LATENCY, partial(owner.deliver, packet))
        elif self._is_on_lan(host):
            self._ether.settle(packet, Fate.UNROUTABLE)
        else:
            self._router.forward(packet)

    def bring(self, packet: MemoryPacket) -> None:
        """Deliver a packet that came from outside."""
        owner = self._owners.get(packet.destination.host)
        if owner is None:
            self._ether.settle(packet, Fate.UNROUTABLE)
        else:
            owner.deliver(packet)

    def expose_anew(self) -> None:
        """The router has started or stopped translating: show the inner addresses outside, or hide them."""
        for address in self._owners:
            self._cover(address)
            self._expose(address)

    def _expose(self, address: str) -> None:
        router = self._router
        is_own = address == router.spec.inner
        if not is_own and not router.translates(address) and (":" not in address or scope_of(address) is Scope.GLOBAL):
            router.outside.attach(address, router)
            self._exposed[address] = None

    def _cover(self, address: str) -> None:
        if address in self._exposed:
            del self._exposed[address]
            self._router.outside.detach(address)

    def _is_on_lan(self, host: str) -> bool:
        """Whether this is an address of the LAN, a /24: packets to it never come to the router."""
        router = self._router
        spec = router.spec
        if host == spec.address or not router.translates(host):
            return False
        return host.rpartition(".")[0] == spec.inner.rpartition(".")[0]


class Counter:
    """The router's own inner address, where only its gateway server listens."""

    def __init__(self, router: RouterBox, ether: Ether) -> None:
        self.name = router.name
        self._router = router
        self._ether = ether

    def deliver(self, packet: MemoryPacket) -> None:
        """A host has sent something to the router itself."""
        gateway_server = self._router.gateway_server
        if packet.segment is not None:
            self._ether.settle(packet, Fate.UNWANTED)
            if packet.segment.kind is SegmentKind.CONNECT:
                self._router.inside.transmit(reset_for(packet))
        elif gateway_server is None or packet.destination.port != GATEWAY_PORT:
            self._ether.settle(packet, Fate.UNWANTED)
        else:
            self._ether.settle(packet, Fate.DELIVERED)
            answer = gateway_server.handle_untrusted(packet.payload, packet.source)
            if answer is not None:
                self._router.inside.transmit(MemoryPacket(packet.destination, packet.source, answer))


def reset_for(packet: MemoryPacket) -> MemoryPacket:
    """The reset that refuses this segment."""
    reset = Segment(SegmentKind.RESET, 0, None)
    return MemoryPacket(packet.destination, packet.source, b"", segment=reset)
