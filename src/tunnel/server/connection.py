"""One connection of one node, from the challenge to the last word.

    server -> challenge     node -> hello     server -> welcome     then signals and relay frames, both ways
                                           or error, then the end

Before `welcome` the client has until a deadline and may send one signal. Whatever ends the connection becomes its last
word, a typed error. What a client does reaches its own connection and its own network, no further.
"""

from __future__ import annotations

import logging
from contextlib import suppress

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
from tunnel.model.protocol_version import PROTOCOL_VERSION
from tunnel.model.settings import ServerSettings
from tunnel.network.fair_queueing import Share
from tunnel.network.link import Link
from tunnel.server.context import ServerContext
from tunnel.server.conversation import Conversation
from tunnel.server.limits import Slot
from tunnel.server.presence import Member
from tunnel.wire.signals import MAX_TEXT, SIGNALS_VERSION, Challenge, ErrorSignal, Hello, Welcome

FAREWELL = 1.0
"""Seconds that the last word may take."""
_log = logging.getLogger(__name__)


class Connection:
    """Serves one link. `run` ends with the link; `end` makes it end."""

    def __init__(
        self,
        context: ServerContext,
        link: Link,
        slot: Slot,
        share: Share,
        *,
        local: Endpoint,
        remote: Endpoint,
    ) -> None:
        """`local`: where it was accepted. `share`: what the link uses of the event loop."""
        self._context = context
        self._link = link
        self._slot = slot
        self._share = share
        self._local = local
        self._remote = remote
        self._scope = trio.CancelScope()
        self._last_word: ErrorSignal | None = None
        self._member: Member | None = None

    def end(self, code: str, text: str = "") -> None:
        """End the connection. Of several calls the first gives the last word."""
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
        self._context.counts.note_ending(code)
        _log.debug("connection ended", extra={"code": code, "remote": self._remote})
        if self._member is not None:
            _log.info("node gone", extra={**_facts(self._member), "code": code})

    async def _guarded(self, deadline: float) -> None:
        """The conversation; whatever ends it becomes the last word."""
        try:
            with trio.fail_at(deadline):
                member = await self._register()
            try:
                await Conversation(self._context, member, self._link, self._share).run()
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
        if hello.version != SIGNALS_VERSION:
            where = "on the node" if hello.version < SIGNALS_VERSION else "on the server"
            told = f"the server's signals are of version {SIGNALS_VERSION}, the node's of {hello.version}"
            raise Refused("version", f"{told}: update p2ptunnel-trio {where}")
        network, node = verify_hello(hello, challenge, private, binding=context.binding)
        context.presence.check_room(network, node)
        returns = context.presence.find(network, node) is not None
        refusal = context.admission.admit(self._slot, network, self._give_way, returns=returns)
        if refusal is not None:
            raise _full(refusal, context.settings, self._remote)
        lease = context.registry.lease(
            network,
            node,
            hello.wanted_address,
            context.world.clock.wall(),
            lambda: context.presence.members_of(network),
        )
        allowance = context.relay.open_allowance(trio.current_time())
        member = self._member = Member(
            network, node, self._link, self.end, allowance, protocol_version=hello.protocol_version
        )
        context.presence.join(member)
        stun = tuple(self._told(endpoint) for endpoint in context.stun)
        relay = stun if context.udp_relay is not None else ()
        member.tell(Welcome(lease.address, lease.since, self._remote, stun, relay, PROTOCOL_VERSION))
        version = {} if hello.protocol_version == PROTOCOL_VERSION else {"version": hello.protocol_version}
        _log.info("node registered", extra={**_facts(member), "lease": lease.address, **version})
        return member

    def _told(self, endpoint: Endpoint) -> Endpoint:
        """A port of the host that this node dialed, as the wildcard address: only the node knows the server's address.

        A router between them may forward ports, or a NAT64 translate the address.
        """
        if endpoint.host != self._local.host:
            return endpoint
        return Endpoint("::" if endpoint.is_ipv6 else "0.0.0.0", endpoint.port)

    def _give_way(self, code: str) -> None:
        """End, for a node of another network or address that has fewer connections."""
        refusal = _full(code, self._context.settings, self._remote)
        self.end(refusal.code, refusal.text)

    def _forget(self, member: Member) -> None:
        context = self._context
        context.presence.leave(member)
        context.registry.mark_seen([(member.network, member.node)], context.world.clock.wall())

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


def _full(code: str, settings: ServerSettings, remote: Endpoint) -> Refused:
    """With a text for the node's user and for the server's operator."""
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
