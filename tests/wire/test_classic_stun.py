from __future__ import annotations

import pytest
import stun
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.wire.classic_stun import ClassicRequest, decode_classic_request, encode_classic_success
from tunnel.wire.stun import Change, binding_request, encode_stun

TRANSACTION = bytes(range(16))
HEAD = "0001 0000 000102030405060708090a0b0c0d0e0f"
HEAD8 = HEAD.replace("0000", "0008", 1)
"""With eight bytes of attributes to follow."""


@pytest.mark.parametrize(
    ("datagram", "request_"),
    [
        (HEAD, ClassicRequest(TRANSACTION)),
        (HEAD8 + "0003 0004 00000006", ClassicRequest(TRANSACTION, Change.PORT | Change.ADDRESS)),
        (HEAD8 + "0003 0004 00000002", ClassicRequest(TRANSACTION, Change.PORT)),
    ],
)
def test_a_classic_request_is_read(datagram: str, request_: ClassicRequest) -> None:
    assert decode_classic_request(bytes.fromhex(datagram)) == request_


def test_a_classic_answer_is_these_bytes() -> None:
    answer = encode_classic_success(
        ClassicRequest(TRANSACTION), Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2), Endpoint("192.0.2.3", 3)
    )
    assert answer == bytes.fromhex(
        "0101 0024 000102030405060708090a0b0c0d0e0f"
        "0001 0008 0001 0001 c0000201  0004 0008 0001 0002 c0000202  0005 0008 0001 0003 c0000203"
    )
    bare = encode_classic_success(ClassicRequest(TRANSACTION), Endpoint("192.0.2.1", 1), None, None)
    assert bare == bytes.fromhex("0101 000c 000102030405060708090a0b0c0d0e0f 0001 0008 0001 0001 c0000201")


def test_a_classic_client_reads_our_answer() -> None:
    class Wire:
        """A socket with our codec behind it."""

        def sendto(self, datagram: bytes, remote: tuple[str, int]) -> None:
            self.answer = encode_classic_success(
                decode_classic_request(datagram),
                Endpoint("25.1.1.1", 40000),
                Endpoint(*remote),
                Endpoint("25.0.0.2", 9),
            )
            self.remote = remote

        def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
            return self.answer, self.remote

    stun._initialize()
    heard = stun.stun_test(Wire(), "25.0.0.1", 3478, "0.0.0.0", 0)
    assert (heard["ExternalIP"], heard["ExternalPort"]) == ("25.1.1.1", 40000)
    assert (heard["SourceIP"], heard["SourcePort"]) == ("25.0.0.1", 3478)
    assert (heard["ChangedIP"], heard["ChangedPort"]) == ("25.0.0.2", 9)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        bytes.fromhex(HEAD)[:19],
        bytes.fromhex(HEAD) + b"\0",
        bytes.fromhex(HEAD.replace("0001", "0101", 1)),
        bytes.fromhex(HEAD8 + "0003 0004 000000"),
        bytes.fromhex(HEAD8 + "0002 0004 00000000"),
        bytes.fromhex(HEAD.replace("0000", "0010", 1) + "0003 0004 00000006" * 2),
        encode_stun(binding_request(bytes(12))),
    ],
    ids=["empty", "short", "long", "answer", "cut", "another attribute", "two attributes", "with the cookie"],
)
def test_what_is_no_classic_request_is_malformed(datagram: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode_classic_request(datagram)


@given(st.binary(max_size=40) | st.binary(max_size=10).map(lambda rest: bytes.fromhex(HEAD) + rest))
def test_junk_is_a_classic_request_or_malformed(junk: bytes) -> None:
    try:
        request = decode_classic_request(junk)
    except MalformedFrame:
        return
    assert request.transaction == junk[4:20]
