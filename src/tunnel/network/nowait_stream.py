"""Byte streams that can send without waiting, so that what is to be passed on takes no turn of another task."""

from __future__ import annotations

from abc import abstractmethod

import trio


class NowaitStream(trio.abc.Stream):
    """A stream with `send_nowait`. Its user lets one way of sending end before the other begins."""

    @property
    @abstractmethod
    def takes_nowait(self) -> bool:
        """Whether `send_nowait` may be called: nothing is being sent, and nothing waits to be."""
        ...

    @abstractmethod
    def send_nowait(self, data: bytes | bytearray | memoryview) -> bool:
        """Take everything, and send at once what can be. False: the next `send_all` sends the rest, before its own.

        Failures of the connection show there, too.
        """
        ...


def as_nowait(stream: trio.abc.Stream) -> NowaitStream | None:
    """The stream, if it is one of these."""
    return stream if isinstance(stream, NowaitStream) else None
