"""The node's circuits of the UDP relay: asked for, bound, kept bound while they are wanted, and given up.

    want(peer) --allocate--> server --circuit--> bind, bind ... bound: whole? --note_circuit--> the peer probes it
                                                 prove -> bind, at once

Nothing here knows what goes over a circuit. Binds leave from the node's ordinary sockets, and so keep the NAT mapping
alive by which the server sees them. A server may name any endpoint as its relay, so it can make us send little: a
circuit that nobody here wants is ignored, and all circuits that it gives for one peer share one allowance of binds.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from tunnel.crypto.circuit_seal import open_binding, seal_binding
from tunnel.dataplane.circuit_table import CircuitTable
from tunnel.machines.notifier import Notifier
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame, NotAuthentic
from tunnel.model.identity import NodeId
from tunnel.model.nat import Udp
from tunnel.model.rates import TokenBucket
from tunnel.model.timings import Timings, rung
from tunnel.model.way import Way
from tunnel.wire.circuits import NO_COOKIE, Binding, Word, decode_head
from tunnel.wire.signals import Allocate, Circuit, NoCircuit, Signal

log = logging.getLogger(__name__)

BINDS_AT_ONCE = 16
"""For one peer, each followed by at most one that proves; then one every `Timings.circuit_bind_gap`."""


@dataclass(slots=True, eq=False)
class _Bound:
    """A circuit that we were told of."""

    id: int
    key: bytes
    way: Way
    counter: int = 0
    heard: int = 0
    """Counter of the latest bind that was answered."""
    cookie: bytes = NO_COOKIE
    """What the server wants repeated."""
    may_prove: bool = False
    """Whether one `prove` since the latest bind that was due may still be answered at once."""
    unanswered: int = 0
    """Binds since the last answer."""
    halves: int = 0
    """Answers in a row by which the peer has not bound its side."""
    is_whole: bool = False
    due: float = -math.inf
    """When to bind again."""


@dataclass(slots=True, eq=False)
class _Wish:
    """A peer to which somebody wants a circuit."""

    node: NodeId
    until: float
    binds: TokenBucket
    """The allowance for all its circuits together."""
    ask_at: float = -math.inf
    asked: int = 0
    """Requests since a circuit worked."""
    circuit: _Bound | None = None


class Sockets(Protocol):
    """The node's UDP sockets."""

    def families(self) -> Sequence[tuple[int, bool]]:
        """Number and family (True: IPv6) of each socket."""
        ...

    def send(self, way: Way, datagram: bytes) -> bool:
        """Send a datagram as it is. False: dropped."""
        ...


class SignalSender(Protocol):
    """The link to the server."""

    def send_signal(self, signal: Signal) -> bool:
        """Queue a signal. False: there is no link."""
        ...


class Peers(Protocol):
    """The connections to peers."""

    def note_circuit(self, node: NodeId, way: Way | None) -> None:
        """A circuit can be used from now on; None: none can."""
        ...


class Nat(Protocol):
    """What is known of our NAT."""

    @property
    def udp(self) -> Udp:
        """Whether UDP passes."""
        ...


class Circuits:
    """Run `run` in a task. Peers call `want` and `doubt`; hand what comes in to `hear_...` and `handle_untrusted`."""

    def __init__(
        self, timings: Timings, sockets: Sockets, table: CircuitTable, link: SignalSender, peers: Peers, nat: Nat
    ) -> None:
        """`table` is kept up to date with the circuits that there are."""
        self._timings = timings
        self._sockets = sockets
        self._table = table
        self._link = link
        self._peers = peers
        self._nat = nat
        self._servers: tuple[Endpoint, ...] = ()
        self._wishes: dict[NodeId, _Wish] = {}
        self._by_id: dict[int, _Wish] = {}
        self._woken = Notifier()
        self.refused = 0
        """Datagrams that pretended to come from the relay, or belonged to no circuit of ours."""

    def __len__(self) -> int:
        return len(self._by_id)

    def want(self, node: NodeId) -> None:
        """The relay to this peer is in use: keep a circuit for some time from now on."""
        now = trio.current_time()
        wish = self._wishes.get(node)
        if wish is None:
            binds = TokenBucket(1 / self._timings.circuit_bind_gap, BINDS_AT_ONCE, now)
            wish = self._wishes[node] = _Wish(node, now, binds)
        wish.until = now + self._timings.circuit_idle
        if wish.circuit is None and now >= wish.ask_at:
            self._woken.notify()

    def doubt(self, node: NodeId) -> None:
        """Nothing is answered over this circuit: bind it now, since a NAT may have given us another mapping."""
        wish = self._wishes.get(node)
        if wish is not None and wish.circuit is not None and not wish.circuit.unanswered:
            wish.circuit.due = -math.inf
            self._woken.notify()

    def doubt_all(self) -> None:
        """Our addresses may have changed."""
        for wish in self._wishes.values():
            self.doubt(wish.node)

    def note_registered(self, servers: Sequence[Endpoint]) -> None:
        """The server has welcomed us; its relay is at `servers`. It may have restarted and know no circuit of ours."""
        self._servers = self._table.relays = tuple(servers)
        for wish in self._wishes.values():
            wish.asked, wish.ask_at = 0, -math.inf
        self.doubt_all()
        self._woken.notify()

    def hear_untrusted(self, signal: Circuit | NoCircuit) -> None:
        """What the server says of circuits. One that nobody wants is ignored: whoever wants it later asks again."""
        node = NodeId(signal.peer)
        wish = self._wishes.get(node)
        if wish is None:
            return
        if isinstance(signal, NoCircuit):
            log.debug("no circuit", extra={"peer": node, "why": signal.why})
            wish.asked = len(self._timings.circuit_asks)
            wish.ask_at = trio.current_time() + self._timings.circuit_asks[-2]
            return
        ways = self._ways(signal.circuit)
        if not ways or signal.circuit in self._by_id:
            return
        self._drop(wish)
        wish.circuit = _Bound(signal.circuit, signal.key, ways[0])
        self._by_id[signal.circuit] = wish
        self._table.ways[signal.circuit] = wish.circuit.way
        self._woken.notify()

    def handle_untrusted(self, datagram: bytes, remote: Endpoint) -> None:
        """A datagram that claims to be the relay's own word. Whatever it holds, it costs a count at most."""
        try:
            word, number = decode_head(datagram)
            wish = self._by_id.get(number)
            if wish is None or wish.circuit is None or remote not in self._servers:
                self.refused += 1
            elif word is Word.BOUND:
                self._note_bound(wish, wish.circuit, open_binding(wish.circuit.key, datagram))
            elif word is Word.PROVE:
                self._prove(wish.circuit, open_binding(wish.circuit.key, datagram), remote)
            else:
                self.refused += 1
        except (MalformedFrame, NotAuthentic):
            self.refused += 1

    async def run(self) -> None:
        """Ask, bind and give up, each when it is due, until cancelled."""
        while True:
            now = trio.current_time()
            for wish in tuple(self._wishes.values()):
                self._tend(wish, now)
            due = min((self._due(wish) for wish in self._wishes.values()), default=math.inf)
            with trio.move_on_at(due):
                await self._woken.wait()

    def _due(self, wish: _Wish) -> float:
        """When this one is due next."""
        if wish.circuit is not None:
            return min(wish.until, wish.circuit.due)
        return min(wish.until, wish.ask_at) if self._ways(0) else wish.until

    def _tend(self, wish: _Wish, now: float) -> None:
        circuit, timings = wish.circuit, self._timings
        if now >= wish.until:
            self._drop(wish)
            del self._wishes[wish.node]
        elif circuit is None:
            if self._ways(0) and now >= wish.ask_at:
                wish.ask_at = now + rung(timings.circuit_asks, wish.asked)
                wish.asked += self._link.send_signal(Allocate(wish.node.raw))
        elif now >= circuit.due:
            if circuit.unanswered >= len(timings.circuit_binds):
                log.info("circuit given up", extra={"peer": wish.node})
                self._drop(wish)
                self._tend(wish, now)
            elif wish.binds.take(now):
                self._bind(circuit, now)
            else:
                circuit.due = now + timings.circuit_bind_gap

    def _bind(self, circuit: _Bound, now: float) -> None:
        ways = self._ways(circuit.id)
        if circuit.unanswered > 1 and ways:  # another port or family of the server may get through
            circuit.way = ways[(ways.index(circuit.way) + 1) % len(ways) if circuit.way in ways else 0]
            self._table.ways[circuit.id] = circuit.way
        circuit.unanswered += 1
        circuit.may_prove = True
        self._send_bind(circuit, now)

    def _prove(self, circuit: _Bound, wanted: Binding, server: Endpoint) -> None:
        """The server asks for proof that we receive what it sends: give it, once for each bind that was due."""
        if not circuit.heard < wanted.counter <= circuit.counter or server != circuit.way.remote:
            return
        circuit.heard = wanted.counter
        is_new, circuit.cookie = wanted.cookie != circuit.cookie, wanted.cookie
        if is_new and circuit.may_prove:
            circuit.may_prove = False
            self._send_bind(circuit, trio.current_time())

    def _send_bind(self, circuit: _Bound, now: float) -> None:
        circuit.counter += 1
        circuit.due = now + rung(self._timings.circuit_binds, circuit.unanswered - 1)
        binding = Binding(Word.BIND, circuit.id, circuit.counter, cookie=circuit.cookie)
        self._sockets.send(circuit.way._replace(circuit=0), seal_binding(circuit.key, binding))

    def _note_bound(self, wish: _Wish, circuit: _Bound, bound: Binding) -> None:
        """The server answered our latest bind, or adds that the peer has bound its side, too."""
        if bound.counter != circuit.counter or (circuit.is_whole and not circuit.unanswered and not bound.is_whole):
            return
        circuit.unanswered, circuit.may_prove = 0, False
        circuit.heard, circuit.cookie = bound.counter, bound.cookie
        circuit.is_whole = bound.is_whole
        wait = self._timings.circuit_keepalive if bound.is_whole else rung(self._timings.circuit_halves, circuit.halves)
        circuit.due = trio.current_time() + wait
        circuit.halves = 0 if bound.is_whole else circuit.halves + 1
        if bound.is_whole:
            wish.asked, wish.ask_at = 0, -math.inf
        self._woken.notify()
        self._peers.note_circuit(wish.node, circuit.way if bound.is_whole else None)

    def _drop(self, wish: _Wish) -> None:
        if wish.circuit is not None:
            del self._by_id[wish.circuit.id], self._table.ways[wish.circuit.id]
            wish.circuit = None
            self._peers.note_circuit(wish.node, None)

    def _ways(self, circuit: int) -> list[Way]:
        """From each socket to each port of the server in the same address family; none if no UDP passes."""
        if self._nat.udp is Udp.BLOCKED:
            return []
        return [
            Way(number, server, circuit)
            for server in self._servers
            for number, is_ipv6 in self._sockets.families()
            if server.is_ipv6 == is_ipv6
        ]
