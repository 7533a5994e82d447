"""The hub of the re-enacted tool: keeps what clients published, and introduces two of them.

Client and hub speak lines of JSON: ["name", NAME], ["seen", ADDRESS], ["info", PEER_INFO], ["want", NAME],
["meet", NAME, PEER_INFO].
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import trio
from bench.studies.reenactment_detection import NatKind

from tunnel.model.endpoint import Endpoint
from tunnel.network.ports import StreamListener

POLL = 1.0
"""Seconds between two polls."""


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """What a client publishes about itself."""

    public: Endpoint
    """The address that the hub sees, with the *local* port."""
    local: Endpoint
    kind: NatKind

    def as_json(self) -> list[Any]:
        """For a line."""
        return [*self.public, *self.local, int(self.kind)]

    @classmethod
    def from_json(cls, fields: list[Any]) -> PeerInfo:
        """From a line."""
        return cls(Endpoint(fields[0], fields[1]), Endpoint(fields[2], fields[3]), NatKind(fields[4]))


class Hub:
    """One hub. `polls`: how often it looks again, a second apart, if a client's info is missing at a request."""

    def __init__(self, polls: int) -> None:
        self._polls = polls
        self._streams: dict[str, trio.abc.Stream] = {}
        self._infos: dict[str, PeerInfo] = {}
        self.requests = 0
        self.served: list[int] = []
        """The requests that led to an introduction; the first is 1."""

    async def serve(self, listener: StreamListener) -> None:
        """Serve clients until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                stream, remote = await listener.accept()
                nursery.start_soon(self._serve_client, stream, remote, nursery)

    async def _serve_client(self, stream: trio.abc.Stream, remote: Endpoint, nursery: trio.Nursery) -> None:
        await send_line(stream, ["seen", remote.host])
        name = ""
        async for word, *fields in lines_of(stream):
            if word == "name":
                name = fields[0]
                self._streams[name] = stream
            elif word == "info":
                self._infos[name] = PeerInfo.from_json(fields[0])
            elif word == "want":
                self.requests += 1
                if self._knows(name, fields[0]):
                    await self._introduce(name, fields[0], self.requests)
                else:
                    nursery.start_soon(self._introduce_later, name, fields[0], self.requests)

    async def _introduce_later(self, one: str, other: str, request: int) -> None:
        """If it fails, no client is told, and nothing keeps two of these from running at once."""
        for _ in range(self._polls):
            await trio.sleep(POLL)
            if self._knows(one, other):
                await self._introduce(one, other, request)
                return

    async def _introduce(self, one: str, other: str, request: int) -> None:
        self.served.append(request)
        await send_line(self._streams[one], ["meet", other, self._infos[other].as_json()])
        await send_line(self._streams[other], ["meet", one, self._infos[one].as_json()])

    def _knows(self, one: str, other: str) -> bool:
        return one in self._infos and other in self._infos


async def send_line(stream: trio.abc.Stream, words: list[Any]) -> None:
    """One line."""
    await stream.send_all(json.dumps(words).encode() + b"\n")


async def lines_of(stream: trio.abc.Stream) -> AsyncIterator[list[Any]]:
    """Lines as they come, until the other side ends."""
    unread = b""
    while data := await stream.receive_some():
        *lines, unread = (unread + data).split(b"\n")
        for line in lines:
            yield json.loads(line)
