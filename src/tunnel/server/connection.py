"""One connection of one node, from the challenge to the last word.

    server -> challenge     node -> hello     server -> welcome     then signals and relay frames, both ways
                                           or error, then the end

Before `welcome` the client has until a deadline and may say one thing. After it, rates, silence and slow reading end
the connection with a typed error; what a client does reaches its own connection and its own network, no further.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import trio

from tunnel.crypto.admission import verify_hello
from tunnel.crypto.node_keys import NodeKeys
from tunnel.machines.background import run_beside
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import (
    MalformedFrame,
    NotAuthentic,
    Refused,
    RemoteProtocolError,
    UnexpectedSignal,
)
from tunnel.model.identity import NetworkId
from tunnel.model.rates import TokenBucket
from tunnel.model.settings import ServerSettings
from tunnel.network.fair_queueing import Share
from tunnel.network.link import Link
from tunnel.server.announcement_pacing import AnnouncementPacer
from tunnel.server.context import ServerContext
from tunnel.server.presence import Member
from tunnel.wire.signals import (
    MAX_TEXT,
    PROTOCOL_VERSION,
    Allocate,
    Announce,
    Announced,
    Challenge,
    Connect,
    ErrorSignal,
    Hello,
    NoCircuit,
    Ping,
    Pong,
    Signal,
    Welcome,
    Withdraw,
    tag_of,
)

FAREWELL = 1.0
"""Seconds that the last word may take."""
MAX_UNSENT = 64
"""Signals that may wait in a link's queue, far below where it breaks; beyond that we neither hear nor tell more."""
ANNOUNCE_WEIGHT = 5.0
"""Signals that an announcement counts for, beside what its telling costs (announcement_pacing.py)."""
UPDATES_AT_ONCE = 8
"""Words about others that are made at once, when the ones before are sent."""
MESSAGES_RATE = 4000.0
"""Messages a second that are read of one member, whatever is in them; who sends more waits."""
MESSAGES_PAUSE = 0.01

_log = logging.getLogger(__name__)


class Admit(Protocol):
    """Gives the connection a member's place, or says by which code it is refused."""

    def __call__(self, network: NetworkId, end: Callable[[str], None], *, returns: bool) -> str | None:
        """`returns`: an older link of the same node is about to end. `end(code)` is called if it must give way."""
        ...


class Connection:
    """Serves one link. `run` ends with the link; `end` makes it end."""

    def __init__(
        self,
        context: ServerContext,
        link: Link,
        remote: Endpoint,
        admit: Admit,
        *,
        local: Endpoint,
        share: Share,
    ) -> None:
        """`admit` is asked when the client has proved who it is; a code refuses it. `local`: where it was accepted.

        `share`: what the link uses of the loop.
        """
        self._context = context
        self._admit = admit
        self._share = share
        self._link = link
        self._remote = remote
        self._local = local
        self._scope = trio.CancelScope()
        self._last_word: ErrorSignal | None = None
        self._ping: tuple[int, float] | None = None
        self._member: Member | None = None

    def end(self, code: str, text: str = "") -> None:
        """End the connection; the first one who says so has the last word."""
        if self._last_word is None:
            self._last_word = ErrorSignal(code, text[:MAX_TEXT])
        self._scope.cancel()

    async def run(self, deadline: float) -> None:
        """Serve until the end. The client must have registered by `deadline` (Trio's time)."""
        async with run_beside(self._write):
            with self._scope:
                await self._guarded(deadline)
            if self._last_word is not None:
                await self._say_last_word(self._last_word)
        code = self._last_word.code if self._last_word is not None else "gone"
        self._context.endings[code] = self._context.endings.get(code, 0) + 1
        _log.debug("connection ended", extra={"code": code, "remote": self._remote})
        if self._member is not None:
            _log.info("node gone", extra={**_facts(self._member), "code": code})

    async def _guarded(self, deadline: float) -> None:
        """The conversation; whatever ends it becomes the last word."""
        try:
            with trio.fail_at(deadline):
                member = await self._register()
            try:
                await self._converse(member)
            finally:
                self._forget(member)
        except (trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except trio.TooSlowError:
            self.end("timeout", "no hello came in time")
        except MalformedFrame as error:
            self.end("malformed", str(error))
        except NotAuthentic as error:
            self.end("not_authentic", str(error))
        except UnexpectedSignal as error:
            self.end("unexpected", str(error))
        except RemoteProtocolError as error:
            self.end("protocol", str(error))
        except Refused as refusal:
            self.end(refusal.code, refusal.text)
        except Exception:
            _log.exception("a connection failed")
            self.end("internal_error", "a bug of the server")

    async def _register(self) -> Member:
        """Challenge, hello, welcome."""
        context, entropy = self._context, self._context.world.entropy
        private = entropy.token(32)
        challenge = Challenge(nonce=entropy.token(32), server_key=NodeKeys(private).public)
        self._link.send_signal(challenge)
        hello = await self._link.receive()
        if not isinstance(hello, Hello):
            raise UnexpectedSignal("the first signal must be hello")
        if hello.version != PROTOCOL_VERSION:
            raise Refused("version", f"this server speaks version {PROTOCOL_VERSION}, you speak {hello.version}")
        network, node = verify_hello(hello, challenge, private, binding=context.binding)
        context.presence.check_room(network, node)
        refusal = self._admit(network, self._give_way, returns=context.presence.find(network, node) is not None)
        if refusal is not None:
            raise _full(refusal, context.settings, self._remote)
        lease = context.registry.lease(
            network,
            node,
            hello.wanted_address,
            context.world.clock.wall(),
            lambda: context.presence.members_of(network),
        )
        member = self._member = Member(network, node, self._link, self.end)
        context.presence.join(member)
        stun = tuple(self._told(endpoint) for endpoint in context.stun)
        relay = stun if context.udp_relay is not None else ()
        member.tell(Welcome(lease.address, lease.since, self._remote, stun, relay))
        _log.info("node registered", extra={**_facts(member), "lease": lease.address})
        return member

    def _told(self, endpoint: Endpoint) -> Endpoint:
        """A port at the host that this node dialled is told as that: only the node knows its address out there.

        Between us a router may forward ports, or a translator change the address.
        """
        if endpoint.host != self._local.host:
            return endpoint
        return Endpoint("::" if endpoint.is_ipv6 else "0.0.0.0", endpoint.port)

    def _give_way(self, code: str) -> None:
        """To a node of a network, or of an address, with fewer links."""
        refusal = _full(code, self._context.settings, self._remote)
        self.end(refusal.code, refusal.text)

    def _forget(self, member: Member) -> None:
        context = self._context
        context.presence.leave(member)
        context.registry.mark_seen([(member.network, member.node)], context.world.clock.wall())

    async def _converse(self, member: Member) -> None:
        pacer = AnnouncementPacer(self._context.presence, member, self._share)

        async def beside() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._ping_often)
                nursery.start_soon(self._pass_updates, member)
                nursery.start_soon(pacer.run)

        settings, now = self._context.settings, trio.current_time()
        signals = TokenBucket(settings.max_signals_rate, _signal_burst(settings), now)
        messages = TokenBucket(MESSAGES_RATE, MESSAGES_RATE / 4, now)
        relay = self._context.relay
        allowance = member.allowance = relay.open_allowance(now)

        def charge_signal(weight: float = 1.0) -> None:
            if not signals.take(trio.current_time(), weight):
                raise Refused("too_many_signals", f"more than {settings.max_signals_rate:g} a second")

        self._link.admit_batch = lambda: relay.admit_batch(allowance, trio.current_time())
        self._link.on_useless = charge_signal
        async with run_beside(beside):
            with trio.CancelScope() as silence:
                while True:
                    silence.deadline = trio.current_time() + settings.timings.silence_patience
                    heard = await self._link.receive()
                    if not messages.take(trio.current_time()):
                        await trio.sleep(MESSAGES_PAUSE)
                    match heard:
                        case list() as frames:
                            relay.forward(member, allowance, frames, trio.current_time())
                        case signal:
                            charge_signal(ANNOUNCE_WEIGHT if isinstance(signal, Announce) else 1.0)
                            self._context.signals += 1
                            self._hear(member, signal, pacer)
                            await self._wait_room()
            raise Refused("silent", f"nothing was heard for {settings.timings.silence_patience:g} s")

    def _hear(self, member: Member, signal: Signal, pacer: AnnouncementPacer) -> None:
        context = self._context
        match signal:
            case Announce():
                if len(signal.body) > context.settings.max_announcement:
                    raise Refused("announcement_too_big", f"more than {context.settings.max_announcement} bytes")
                if context.presence.announce(member, signal):
                    pacer.note()
                member.tell(Announced(signal.seq))
            case Withdraw():
                context.presence.withdraw(member)
            case Connect():
                context.introductions.request(member, signal)
            case Allocate():
                if context.udp_relay is None:
                    member.tell(NoCircuit(signal.peer, "off"))
                else:
                    context.udp_relay.circuits.allocate(member, signal)
            case Ping():
                member.tell(Pong(signal.token))
            case Pong():
                if self._ping is not None and signal.token == self._ping[0]:
                    took, self._ping = trio.current_time() - self._ping[1], None
                    if took <= self._context.settings.timings.round_trip_most:
                        member.add_rtt(took)
            case _:
                raise UnexpectedSignal(f"{tag_of(signal)} is nothing that a registered node says")

    async def _ping_often(self) -> None:
        """The first at once: introductions need the round trip."""
        while True:
            token = int.from_bytes(self._context.world.entropy.token(7), "big")
            self._ping = (token, trio.current_time())
            self._link.send_signal(Ping(token))
            await trio.sleep(self._context.settings.timings.server_ping)

    async def _pass_updates(self, member: Member) -> None:
        """Tell the member about its peers, as fast as it takes it."""
        while True:
            await member.updates.wait_some()
            await self._share.wait_queued()
            for _ in range(UPDATES_AT_ONCE):
                if (word := member.updates.take_nowait()) is not None:
                    self._link.send_signal(word)
            with suppress(trio.BrokenResourceError):  # the writer finds that out too, and ends the connection
                await self._link.wait_signals_sent()

    async def _wait_room(self) -> None:
        """Wait until the member has taken what it was told, when that is much."""
        if self._link.statistics().signals_waiting > MAX_UNSENT:
            with suppress(trio.BrokenResourceError):  # the writer finds that out too, and ends the connection
                await self._link.wait_signals_sent()

    async def _write(self) -> None:
        try:
            await self._link.run_writer()
        except trio.TooSlowError:
            self.end("too_slow", "the client takes no bytes")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            _log.debug("link broke", extra={"error": error})
            self._scope.cancel()

    async def _say_last_word(self, error: ErrorSignal) -> None:
        _log.debug("ending a connection", extra={"code": error.code, "text": error.text})
        self._link.send_signal(error)
        with trio.move_on_after(FAREWELL), suppress(trio.BrokenResourceError):
            await self._link.wait_signals_sent()


def _signal_burst(settings: ServerSettings) -> float:
    """A node that comes back may ask for everybody in its network at once."""
    return 4 * settings.max_signals_rate + 2 * settings.max_nodes_per_network


def _full(code: str, settings: ServerSettings, remote: Endpoint) -> Refused:
    """With words for the node's user, and for whom he asks."""
    if code == "server_full":
        return Refused("server_full", f"{settings.max_connections} nodes are online, as many as this server takes")
    most = settings.max_connections_per_address
    return Refused(
        "address_full",
        f"{most} nodes are online from {remote.host}, as many as this server takes from one address; "
        "its operator can raise --max-connections-per-address",
    )


def _facts(member: Member) -> dict[str, object]:
    """What the log says of a member: its ids."""
    return {"node": member.node, "network": member.network}
