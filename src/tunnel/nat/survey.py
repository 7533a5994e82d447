"""The survey: asks all STUN servers at once for our endpoint, from the sockets that also punch and carry data.

    names -> resolver -> one destination a family -> requests at 0, 250, 750, 1750 ms -> answers -> verdict

The socket belongs to the node, which reads it and passes what looks like STUN to `receive_untrusted`. Each request is a
transaction of its own, so an answer shows its true round trip, and a repeated answer is recognized.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import trio

from tunnel.model.endpoint import Endpoint, Scope, is_usable, scope_of, split_host_port
from tunnel.model.errors import MalformedFrame, Unreachable
from tunnel.model.nat import Mapping, NatReport, Udp
from tunnel.model.settings import STUN_PORTS
from tunnel.model.timings import Timings
from tunnel.nat.classification import StunAnswer, allocation_of, mapping_of, ranked, telling
from tunnel.network.datagrams import DatagramSocket
from tunnel.network.ports import Resolver
from tunnel.wire.stun import BINDING, TRANSACTION_BYTES, StunClass, binding_request, decode_stun, encode_stun

_HIDDEN = (
    "something before that server puts an address of its own network in the place of ours, as port forwards of "
    "containers do; run the server on the host's network"
)


@dataclass(frozen=True, slots=True)
class SurveyResult:
    """What the STUN servers answered, and what it means."""

    report: NatReport
    reflexive: tuple[Endpoint, ...] = ()
    """Our endpoints as servers saw them, each once, the most frequent first."""
    answers: tuple[StunAnswer, ...] = ()
    """In the order of arrival."""
    silent: tuple[str, ...] = ()
    """Servers (HOST:PORT) that did not answer before the verdict, those of `unresolved` left out."""
    unresolved: tuple[str, ...] = ()
    """Servers whose name did not resolve."""
    worthless: tuple[StunAnswer, ...] = ()
    """Answers of servers that saw us inside their own network: see `_is_worthless`. They do not count."""
    unnamed: tuple[str, ...] = ()
    """Servers of `silent` that could not be asked: DNS had not answered before the verdict."""

    @property
    def observers(self) -> int:
        """From how many addresses the answers that count came: one alone shows the mapping only in part."""
        return len({answer.remote.host for answer in telling(self.answers)})

    @property
    def hidden(self) -> str:
        """What the worthless answers mean and the remedy, in one line for people; empty if there are none."""
        told = dict.fromkeys(f"{answer.server} sees us at {answer.mapped.host}" for answer in self.worthless)
        return "" if not told else f"{', '.join(told)}: {_HIDDEN}"

    @property
    def evidence(self) -> str:
        """The facts in one line, for people."""
        answers, observers = len(self.answers), self.observers
        facts = [
            f"{answers} answer{'s' * (answers != 1)} from {observers} server address{'es' * (observers != 1)}",
        ]
        if mute := [server for server in self.silent if server not in self.unnamed]:
            facts.append(f"no answer from {', '.join(mute)}")
        if self.unnamed:
            facts.append(f"no answer from DNS on {', '.join(self.unnamed)}")
        facts += [f"{one.server} sees us inside its own network, at {one.mapped.host}" for one in self.worthless]
        if self.unresolved:
            facts.append(f"names not found: {', '.join(self.unresolved)}")
        return "; ".join(facts)


class Survey:
    """One survey. Call `run` once, and `receive_untrusted` meanwhile.

    `own` are the endpoints of our sockets on our interfaces (address and bound port), `own_servers` the STUN endpoints
    of our own server (the host may be its name). Of several sockets of one family the first is used. Servers in
    `unresponsive` (HOST:PORT) get one retransmission only. Raises SettingsError if a server is not HOST:PORT.
    """

    def __init__(
        self,
        sockets: Sequence[DatagramSocket],
        resolver: Resolver,
        *,
        own: Sequence[Endpoint],
        servers: Sequence[str],
        timings: Timings,
        token: Callable[[int], bytes],
        own_servers: Sequence[Endpoint] = (),
        unresponsive: Collection[str] = (),
    ) -> None:
        self._sockets: dict[bool, DatagramSocket] = {}
        for socket in sockets:
            self._sockets.setdefault(socket.local.is_ipv6, socket)
        self._resolver = resolver
        self._own = frozenset(own)
        self._own_servers = frozenset(map(str, own_servers))
        self._servers = {
            server: split_host_port(server, STUN_PORTS[0]) for server in (*map(str, own_servers), *servers)
        }
        self._unresponsive = frozenset(unresponsive)
        self._timings = timings
        self._token = token
        self._destinations: dict[Endpoint, _Destination] = {}
        self._transactions: dict[bytes, _Transaction] = {}
        self._answers: list[StunAnswer] = []
        self._worthless: list[StunAnswer] = []
        self._unresolved: set[str] = set()
        self._resolving = set(self._servers)
        self._settled_at = math.inf
        self._progress = trio.Event()

    async def run(self) -> SurveyResult:
        """Ask until there is a verdict; `survey_cap` seconds at most.

        It ends when two server addresses of one family agree (IPv4 comes first, if we have it), or three destinations
        disagree, or all have answered, or `survey_settle` seconds have passed since the first answer. Two ports of one
        address may agree behind an address-dependent NAT, so they wait for another address. A server inside our site
        does not end the survey while others may still answer.
        """
        with trio.move_on_after(self._timings.survey_cap):
            async with trio.open_nursery() as nursery:
                for server, (host, port) in self._servers.items():
                    nursery.start_soon(self._ask, server, host, port)
                await self._wait_verdict()
                nursery.cancel_scope.cancel()
        return self._result()

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers that it asks (HOST:PORT)."""
        return tuple(self._servers)

    @property
    def unresolved(self) -> frozenset[str]:
        """The servers whose names have not resolved by now."""
        return frozenset(self._unresolved | self._resolving)

    def heard(self) -> dict[str, float]:
        """The round trips (seconds) of the servers that have answered by now, also after the verdict."""
        answers = (*self._answers, *self._worthless)
        return {server: answer.rtt for answer in answers for server in self._destinations[answer.remote].servers}

    def receive_untrusted(self, socket: DatagramSocket, datagram: bytes, remote: Endpoint) -> None:
        """Take what may be an answer. Anything but an answer to a request, from where that went, changes nothing."""
        try:
            message = decode_stun(datagram)
        except MalformedFrame:
            return
        sent = self._transactions.get(message.transaction)
        if sent is None or sent.destination.remote != remote or sent.destination.socket is not socket:
            return
        destination, mapped = sent.destination, message.observed
        if destination.settled.is_set() or message.method != BINDING or message.not_understood:
            return
        if message.kind is StunClass.ERROR:
            destination.refused = True
        elif message.kind is StunClass.SUCCESS and mapped is not None and _is_possible(mapped, remote):
            now = trio.current_time()
            is_own = not self._own_servers.isdisjoint(destination.servers)
            answer = StunAnswer(destination.servers[0], remote, mapped, now - sent.sent_at, is_own, message.other)
            if self._is_worthless(answer):
                self._worthless.append(answer)
            else:
                self._settled_at = min(self._settled_at, now + self._timings.survey_settle)
                self._answers.append(answer)
        else:
            return
        destination.settled.set()
        self._progress.set()

    def _is_worthless(self, answer: StunAnswer) -> bool:
        """Whether a translator in front of the server replaced our address by one of its own network.

        Containers and some port forwards do so. An address of ours is genuine: nothing on the way translates.
        """
        seen, asked = scope_of(answer.mapped.host), scope_of(answer.remote.host)
        if seen is Scope.PRIVATE:
            return asked is Scope.GLOBAL and all(answer.mapped.host != own.host for own in self._own)
        return seen in (Scope.LOOPBACK, Scope.LINK) and seen is not asked

    async def _ask(self, server: str, host: str, port: int) -> None:
        try:
            endpoints = await self._resolver.resolve(host, port)
        except Unreachable:
            endpoints = ()
            self._unresolved.add(server)
        async with trio.open_nursery() as nursery:
            for is_ipv6, socket in self._sockets.items():
                remote = next((one for one in endpoints if one.is_ipv6 == is_ipv6 and is_usable(one)), None)
                if remote in self._destinations:
                    self._destinations[remote].servers.append(server)
                elif remote is not None:
                    destination = self._destinations[remote] = _Destination(remote, socket, [server])
                    self._send(destination)
                    nursery.start_soon(self._repeat, destination)
            self._resolving.discard(server)
            self._progress.set()

    async def _repeat(self, destination: _Destination) -> None:
        waits = self._timings.stun_retransmits
        for wait in waits[:1] if self._unresponsive.issuperset(destination.servers) else waits:
            with trio.move_on_after(wait):
                await destination.settled.wait()
                return
            self._send(destination)

    def _send(self, destination: _Destination) -> None:
        identifier = self._token(TRANSACTION_BYTES)
        self._transactions[identifier] = _Transaction(destination, trio.current_time())
        request = encode_stun(binding_request(identifier))
        if destination.socket.send_nowait(request, destination.remote):
            destination.sent = True

    async def _wait_verdict(self) -> None:
        while not self._is_decided():
            with trio.move_on_at(self._settled_at) as patience:
                await self._progress.wait()
                self._progress = trio.Event()
            if patience.cancelled_caught:
                return

    def _is_decided(self) -> bool:
        waiting = [one for one in self._destinations.values() if one.sent and not one.settled.is_set()]
        if not waiting and not self._resolving:
            return True
        answers = [answer for answer in self._answers if scope_of(answer.mapped.host) is Scope.GLOBAL]
        if any(not one.remote.is_ipv6 for one in waiting) or (self._resolving and False in self._sockets):
            answers = [answer for answer in answers if not answer.mapped.is_ipv6]
        match mapping_of(answers, self._own):
            case Mapping.UNKNOWN:
                return False
            case Mapping.NONE:
                return len(answers) > 1
            case Mapping.ENDPOINT_INDEPENDENT:
                return len({answer.remote.host for answer in answers}) > 1
            case _:
                return len(answers) > 2

    def _result(self) -> SurveyResult:
        answers = tuple(self._answers)
        mapping = mapping_of(answers, self._own)
        refused = {server for one in self._destinations.values() if one.refused for server in one.servers}
        heard = refused | self.heard().keys()
        if heard:
            udp = Udp.OPEN
        else:
            udp = Udp.BLOCKED if any(one.sent for one in self._destinations.values()) else Udp.UNKNOWN
        judged = telling(answers)
        local_port = self._sockets[judged[0].remote.is_ipv6].local.port if judged else 0
        return SurveyResult(
            report=NatReport(mapping=mapping, allocation=allocation_of(answers, mapping, local_port), udp=udp),
            reflexive=ranked(answers),
            answers=answers,
            silent=tuple(one for one in self._servers if one not in heard and one not in self._unresolved),
            unresolved=tuple(one for one in self._servers if one in self._unresolved),
            worthless=tuple(self._worthless),
            unnamed=tuple(one for one in self._servers if one in self._resolving and one not in heard),
        )


@dataclass(slots=True, eq=False)
class _Destination:
    remote: Endpoint
    socket: DatagramSocket
    servers: list[str]
    """The names that resolve to it."""
    sent: bool = False
    refused: bool = False
    settled: trio.Event = field(default_factory=trio.Event)


@dataclass(frozen=True, slots=True)
class _Transaction:
    destination: _Destination
    sent_at: float


def _is_possible(mapped: Endpoint, remote: Endpoint) -> bool:
    """Whether that server can have seen us so: over IPv6 also at an IPv4 address, behind a NAT64 (RFC 6146)."""
    return is_usable(mapped) and (remote.is_ipv6 or not mapped.is_ipv6)
