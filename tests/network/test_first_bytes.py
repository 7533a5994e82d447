"""The first bytes of a stream are reported once, before they are returned."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tunnel.network.first_bytes import FirstBytesStream


async def test_the_first_bytes_are_reported_once_and_before_they_are_returned() -> None:
    stream, other = trio.testing.memory_stream_pair()
    reported: list[int] = []
    watched = FirstBytesStream(stream, lambda: reported.append(1))
    await other.send_all(b"one")
    assert reported == []
    assert await watched.receive_some() == b"one"
    await other.send_all(b"two")
    assert await watched.receive_some() == b"two"
    assert reported == [1]


async def test_a_stream_that_ends_without_a_byte_reports_nothing() -> None:
    stream, other = trio.testing.memory_stream_pair()
    reported: list[int] = []
    watched = FirstBytesStream(stream, lambda: reported.append(1))
    await other.aclose()
    assert await watched.receive_some() == b""
    assert reported == []


async def test_an_error_of_the_report_keeps_the_bytes_from_the_reader() -> None:
    """So a connection can be ended before anything of it is parsed."""

    def refuse() -> None:
        raise trio.BrokenResourceError("too many connections")

    stream, other = trio.testing.memory_stream_pair()
    await other.send_all(b"one")
    with pytest.raises(trio.BrokenResourceError):
        await FirstBytesStream(stream, refuse).receive_some()


async def test_what_is_sent_passes_unchanged() -> None:
    stream, other = trio.testing.memory_stream_pair()
    watched = FirstBytesStream(stream, lambda: None)
    await watched.wait_send_all_might_not_block()
    await watched.send_all(b"answer")
    assert await other.receive_some() == b"answer"
    await watched.aclose()
    assert await other.receive_some() == b""
