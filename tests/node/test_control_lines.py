"""The lines of the control socket: whole however they arrive, bounded, and errors that survive the way."""

from __future__ import annotations

import contextlib

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame, PeerUnreachable, Refused, TunnelError, Unreachable
from tunnel.node.control_lines import Lines, decode_line, encode_line, error_of, failure_of

LIMIT = 64
VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=3)


async def lines_of(*pieces: bytes) -> list[bytes | str]:
    """What a reader gets of these pieces: lines, and the text of each error."""
    ours, theirs = trio.testing.memory_stream_pair()
    for piece in pieces:
        await theirs.send_all(piece)
    await theirs.send_eof()
    lines, got = Lines(ours, LIMIT), list[bytes | str]()
    while True:
        try:
            line = await lines.receive_untrusted()
        except MalformedFrame as error:
            got.append(str(error))
            continue
        if line is None:
            return got
        got.append(line)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_a_document_is_one_line_and_comes_back_as_it_was(document: dict[str, object]) -> None:
    """Whatever a peer calls itself: no name ends a line."""
    line = encode_line(document)
    assert line.isascii()
    assert line.index(b"\n") == len(line) - 1
    assert decode_line(line) == document


@given(st.binary())
def test_what_is_no_document_is_malformed(junk: bytes) -> None:
    with contextlib.suppress(MalformedFrame):
        assert isinstance(decode_line(junk), dict)


async def test_lines_are_whole_however_they_arrive() -> None:
    assert await lines_of(b"one\ntw", b"o\n", b"\nthree\n") == [b"one", b"two", b"", b"three"]


async def test_a_line_without_an_end_is_none() -> None:
    assert await lines_of(b"one\ntwo") == [b"one"]


@pytest.mark.parametrize("size", [LIMIT + 1, 3 * LIMIT, 100 * LIMIT])
async def test_a_line_that_is_too_long_is_dropped_whole_and_the_next_one_is_read(size: int) -> None:
    pieces = [b"x" * LIMIT] * (size // LIMIT) + [b"x" * (size % LIMIT), b"\n", b"y" * LIMIT + b"\nshort\n"]
    assert await lines_of(*pieces) == [f"a line is at most {LIMIT} bytes", b"y" * LIMIT, b"short"]


async def test_a_byte_or_an_end_is_something() -> None:
    """A watch ends with either."""
    ours, theirs = trio.testing.memory_stream_pair()
    lines = Lines(ours, LIMIT)
    await theirs.send_all(b"{")
    await lines.wait_something()
    await lines.wait_something()
    await theirs.aclose()
    assert await lines.receive_untrusted() is None
    await lines.wait_something()


@pytest.mark.parametrize(
    "error", [PeerUnreachable("laptop is away"), Unreachable("nobody"), Refused("full", "no room")]
)
def test_an_error_is_the_same_at_the_other_end(error: TunnelError) -> None:
    answer = decode_line(encode_line(failure_of(error)))
    again = error_of(answer["code"], answer["error"])
    assert (type(again), str(again)) == (type(error), str(error))


def test_the_code_of_a_later_version_is_an_error_too() -> None:
    assert type(error_of("out_of_cheese", "redo from start")) is TunnelError
