"""A byte stream that reports when its peer sends the first bytes: until then a connection costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tunnel.network.nowait_stream import NowaitStream, as_nowait


class FirstBytesStream(NowaitStream):
    """Wraps a stream; calls `on_first` before it returns the first bytes. What that raises leaves `receive_some`."""

    def __init__(self, stream: trio.abc.Stream, on_first: Callable[[], None]) -> None:
        self._stream = stream
        self._nowait = as_nowait(stream)
        self._on_first: Callable[[], None] | None = on_first

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As the stream does."""
        received = await self._stream.receive_some(max_bytes)
        if self._on_first is not None and received:
            on_first, self._on_first = self._on_first, None
            on_first()
        return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream does."""
        await self._stream.send_all(data)

    @property
    def takes_nowait(self) -> bool:
        """As the stream does."""
        return self._nowait is not None and self._nowait.takes_nowait

    def send_nowait(self, data: bytes | bytearray | memoryview) -> bool:
        """As the stream does."""
        assert self._nowait is not None
        return self._nowait.send_nowait(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As the stream does."""
        await self._stream.aclose()
