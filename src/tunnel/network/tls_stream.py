"""A TLS connection over any byte stream, for much data: one read returns all records that came, one write sends all.

    send_all -> ssl -> outgoing -> stream          stream -> incoming -> ssl -> receive_some

trio.SSLStream returns one record of at most 16 KiB from each read, and takes a turn of the event loop for it.
"""

from __future__ import annotations

import ssl

import trio

from tunnel.network.nowait_stream import NowaitStream, as_nowait
from tunnel.network.write_lock import WriteLock

MAX_RECEIVE = 64 * 1024
"""Bytes that a read returns at most unless told otherwise, and that it takes from the stream at once."""
MAX_RECORDS = 32
"""TLS records that a read opens at most: 512 KiB of full ones. What came may hold 11,000 of a byte: 0.2 s."""


class TlsStream(NowaitStream):
    """Call `do_handshake` first. One task receives; others may send.

    As HTTPS does, it closes without a last record and takes the stream's end for the connection's. A failure of TLS is
    trio.BrokenResourceError with the ssl module's error as its cause.
    """

    def __init__(self, stream: trio.abc.Stream, context: ssl.SSLContext, *, server_hostname: str | None = None) -> None:
        """The client's side with a host name, else the server's."""
        self._stream = stream
        self._nowait = as_nowait(stream)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_hostname is None, server_hostname=server_hostname
        )
        self._sending = WriteLock()
        self._has_unsent = False
        """Whether the stream took what it has not sent."""
        self._needs_more = False
        """Whether what has come is no whole record."""
        self._has_ended = False
        self._is_broken = False
        self._is_closed = False

    @property
    def peer_certificate(self) -> bytes:
        """The certificate that the other side showed, in DER; empty if it showed none."""
        return self._tls.getpeercert(binary_form=True) or b""

    async def do_handshake(self) -> None:
        """Return when both sides have agreed on keys."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill(MAX_RECEIVE)
            except (ssl.SSLError, ssl.CertificateError) as error:
                raise self._broken() from error
            else:
                await self._flush()
                return

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What has come, of as many records as fit, at most MAX_RECORDS; empty at the end."""
        await trio.lowlevel.checkpoint_if_cancelled()
        most = MAX_RECEIVE if max_bytes is None else max_bytes
        self._check_whole()
        has_waited = False
        while True:
            received = None if self._needs_more else self._read(most)
            if self._outgoing.pending:  # the answer to a change of keys
                await self._flush()
                has_waited = True
            if received is not None:
                if not has_waited:
                    await trio.lowlevel.cancel_shielded_checkpoint()  # what was read would be lost
                return received
            has_waited = True
            if not await self._fill(most):
                self._has_ended = True
            self._needs_more = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything. A cancelled call breaks the connection."""
        self._check_whole()
        if data:
            try:
                self._tls.write(data)
            except ssl.SSLError as error:
                raise self._broken() from error
        await self._flush()

    @property
    def takes_nowait(self) -> bool:
        """Whether nobody sends, all is sent, and the stream takes it."""
        return (
            self._nowait is not None
            and self._nowait.takes_nowait
            and not (self._sending.is_taken or self._has_unsent or self._is_broken or self._is_closed)
            and not self._outgoing.pending
        )

    def send_nowait(self, data: bytes | bytearray | memoryview) -> bool:
        """Send what the stream can send now. Raises trio.BrokenResourceError if TLS fails."""
        assert self._nowait is not None
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise self._broken() from error
        self._has_unsent = not self._nowait.send_nowait(self._outgoing.read())
        return not self._has_unsent

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream."""
        self._is_closed = True
        await self._stream.aclose()

    def _read(self, most: int) -> bytearray | None:
        """What can be opened now; None if that is nothing yet."""
        buffer = bytearray(min(most, self._tls.pending() + self._incoming.pending))
        size = 0
        try:
            with memoryview(buffer) as view:
                for _ in range(MAX_RECORDS):
                    if self._has_ended or size == len(view):
                        break
                    with view[size:] as rest:
                        count = _read_into(self._tls, rest)
                    size += count
                    self._has_ended = not count
        except ssl.SSLWantReadError:
            self._needs_more = True
        except ssl.SSLError as error:
            if not _is_end(error):
                raise self._broken() from error
            self._has_ended = True
        del buffer[size:]
        return buffer if buffer or self._has_ended else None

    async def _fill(self, most: int) -> bool:
        """Wait for more bytes. False: the stream has ended."""
        received = await self._stream.receive_some(max(most, MAX_RECEIVE))
        if received:
            self._incoming.write(received)
        else:
            self._incoming.write_eof()
        return bool(received)

    async def _flush(self) -> None:
        """Return when all that was written so far is sent."""
        async with self._sending:
            try:
                if self._outgoing.pending or self._has_unsent:
                    self._has_unsent = False
                    await self._stream.send_all(self._outgoing.read())
                else:
                    await trio.lowlevel.checkpoint()
            except BaseException:
                self._is_broken = True  # nobody knows how much of it was sent
                raise

    def _check_whole(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError("this side closed TLS")
        if self._is_broken:
            raise trio.BrokenResourceError("TLS broke")

    def _broken(self) -> trio.BrokenResourceError:
        self._is_broken = True
        return trio.BrokenResourceError("TLS broke")


def _is_end(error: ssl.SSLError) -> bool:
    """Whether the stream ended without a last record. Some versions of Python have no class for it."""
    return isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING"


def _read_into(tls: ssl.SSLObject, buffer: memoryview) -> int:
    """One record's bytes; 0 at the end. (The stubs know no other result than bytes.)"""
    count: object = tls.read(len(buffer), buffer)
    assert isinstance(count, int)
    return count
