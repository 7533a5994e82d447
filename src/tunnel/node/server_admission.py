"""How the server admits us: a stream (server_dial.py), WebSocket, challenge, hello, welcome."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import trio

from tunnel.crypto.admission import prove
from tunnel.crypto.network_keys import NetworkKeys
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, RemoteProtocolError, UnexpectedSignal
from tunnel.model.invite import Invite
from tunnel.model.protocol_version import PROTOCOL_VERSION
from tunnel.model.timings import Timings
from tunnel.network.link import Link
from tunnel.network.ports import World
from tunnel.network.tls import shown_fingerprint
from tunnel.network.urls import ServerUrl
from tunnel.network.websocket import open_message_channel
from tunnel.node.address_memory import AddressMemory
from tunnel.node.identity import Identity
from tunnel.node.lease import check_lease
from tunnel.node.own_addresses import OwnAddresses
from tunnel.node.server_dial import open_server_stream
from tunnel.wire.signals import SIGNALS_VERSION, Challenge, ErrorSignal, Welcome

Expected = TypeVar("Expected")

MAX_MESSAGE = 128 * 1024
RELAY_QUEUE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Connection:
    """A link on which the server has welcomed us."""

    link: Link
    welcome: Welcome
    via: Endpoint
    """What we are connected to: the server, or a proxy before it."""
    server: Endpoint | None
    """The address that we reached; through a proxy the first that its name resolves to here, None if it does not."""
    addresses: tuple[Endpoint, ...]
    """All that the server's name resolved to."""


class ServerAdmission:
    """`open` connects once and proves who we are."""

    def __init__(
        self,
        invite: Invite,
        network: NetworkKeys,
        identity: Identity,
        world: World,
        timings: Timings,
        own: OwnAddresses,
        memory: AddressMemory,
        *,
        protocol_version: int = PROTOCOL_VERSION,
    ) -> None:
        """`protocol_version`: what we tell the server that we speak with our peers."""
        self._invite = invite
        self._url = ServerUrl.parse(invite.server)
        self._network = network
        self._identity = identity
        self._world = world
        self._timings = timings
        self._own = own
        self._memory = memory
        self._protocol_version = protocol_version

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Connection]:
        """A welcomed link, whose writer runs. Raises ServerUnreachable, Refused or RemoteProtocolError."""
        url, timings, wanted = self._url, self._timings, self._own.wanted
        opened = await open_server_stream(self._world, url, self._invite.pin, self._own, self._memory)
        binding = shown_fingerprint(opened.stream)
        is_heard = False
        try:
            async with open_message_channel(
                opened.stream,
                host=f"{url.host}:{url.port}",
                patience=timings.handshake_patience,
                max_message=MAX_MESSAGE,
            ) as channel:
                link = Link(channel, timings=timings, relay_queue=RELAY_QUEUE)
                challenge = await _expect(link, Challenge)
                if challenge.version != SIGNALS_VERSION:
                    where = "on the server" if challenge.version < SIGNALS_VERSION else "here"
                    told = f"the server's signals are of version {challenge.version}, ours of {SIGNALS_VERSION}"
                    raise Refused("version", f"{told}: update p2ptunnel-trio {where}")
                keys = self._identity.keys
                hello = prove(
                    challenge,
                    self._network,
                    keys,
                    binding=binding,
                    wanted_address=wanted,
                    protocol_version=self._protocol_version,
                )
                link.send_signal(hello)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(link.run_writer)
                    welcome = await _expect(link, Welcome)
                    is_heard = True
                    welcome = replace(welcome, address=check_lease(welcome.address))
                    yield Connection(link, welcome, opened.via, opened.server, opened.addresses)
                    nursery.cancel_scope.cancel()
        except BaseException as error:
            if not is_heard and not _has_answered(error):
                self._memory.note_failed(opened.via)
            raise

    def note_silent(self, connection: Connection) -> None:
        """It stopped answering: another address goes first the next time."""
        self._memory.note_failed(connection.via)


def _has_answered(error: BaseException) -> bool:
    """Whether the other side answered: then its address is right."""
    if isinstance(error, BaseExceptionGroup):
        return any(_has_answered(inner) for inner in error.exceptions)
    return isinstance(error, Refused | RemoteProtocolError)


async def _expect(link: Link, kind: type[Expected]) -> Expected:
    match await link.receive():
        case ErrorSignal(code, text):
            raise Refused(code, text)
        case signal if isinstance(signal, kind):
            return signal
        case other:
            raise UnexpectedSignal(f"the server said {type(other).__name__} where a {kind.__name__} was due")
