"""The client of the control socket, for the commands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tunnel.model.errors import MalformedFrame, Unreachable
from tunnel.network.ports import Controls
from tunnel.node.control_lines import Lines, decode_line, encode_line, error_of

MAX_ANSWER = 16 * 1024 * 1024
ASK_PATIENCE = 30.0
"""Seconds. The slowest command, netcheck, takes a few."""

Request = Mapping[str, Any]


class NoNode(Unreachable):
    """No node answers at that path. Its cause is the system's error."""


@asynccontextmanager
async def open_control(controls: Controls, path: Path) -> AsyncIterator[ControlChannel]:
    """Connect to the node that listens at `path`. Raises NoNode."""
    try:
        stream = await controls.open_stream(path)
    except Unreachable as error:
        raise NoNode(f"no node answers at {path}") from error.__cause__
    async with stream:
        yield ControlChannel(stream)


async def ask(controls: Controls, path: Path, request: Request, *, patience: float = ASK_PATIENCE) -> Any:
    """One request, one result. Raises Unreachable (no node), or the error that the node answered with."""
    async with open_control(controls, path) as channel:
        return await channel.ask(request, patience=patience)


class ControlChannel:
    """The client's side of one control connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._lines = Lines(stream, MAX_ANSWER)

    async def ask(self, request: Request, *, patience: float = ASK_PATIENCE) -> Any:
        """The (first) result of one request. Raises Unreachable if the node is silent or gone."""
        with trio.move_on_after(patience):
            await self._send(request)
            return await self.receive()
        raise Unreachable(f"the node did not answer within {patience:g} s")

    async def receive(self) -> Any:
        """The next result of a request with many, such as watch. Raises Unreachable when the node is gone."""
        try:
            line = await self._lines.receive_untrusted()
        except trio.BrokenResourceError:
            line = None
        if line is None:
            raise Unreachable("the node closed the control connection")
        match decode_line(line):
            case {"ok": True, "result": result}:
                return result
            case {"ok": False, "code": str() as code, "error": str() as text}:
                raise error_of(code, text)
        raise MalformedFrame("the node's answer is not one that this version understands")

    async def _send(self, request: Request) -> None:
        try:
            await self._stream.send_all(encode_line(dict(request)))
        except trio.BrokenResourceError:
            raise Unreachable("the node closed the control connection") from None
