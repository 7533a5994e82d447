from __future__ import annotations

import string
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.announcement import MAX_ADDRESSES, MAX_CANDIDATES, MAX_NAME, Announcement
from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import LocalProtocolError, MalformedFrame
from tunnel.model.nat import Allocation, Filtering, Hairpin, Mapping, NatReport, Udp
from tunnel.wire.announcement_body import MAX_ANNOUNCEMENT, decode_announcement, encode_announcement

DESK = Announcement(
    name="desk",
    static_key=bytes(range(32)),
    addresses=("fd00::1", "10.86.0.7"),
    candidates=(
        Candidate(Endpoint("192.168.1.2", 5000), CandidateKind.LAN),
        Candidate(Endpoint("2001:db8::1", 5000), CandidateKind.IPV6),
    ),
    nat=NatReport(mapping=Mapping.ENDPOINT_INDEPENDENT, udp=Udp.OPEN),
    claimed_since=1_700_000_000.5,
)

NAMES = st.text(string.ascii_letters + string.digits + "-._ äßλ東", min_size=1, max_size=MAX_NAME).filter(
    lambda name: name == name.strip()
)
HOSTS = st.sampled_from(["192.0.2.1", "10.0.0.1", "2001:db8::1", "fd12::9", "127.0.0.1"])
ENDPOINTS = st.builds(Endpoint, HOSTS, st.integers(1, 65535))
REPORTS = st.builds(
    NatReport,
    mapping=st.sampled_from(Mapping),
    filtering=st.sampled_from(Filtering),
    allocation=st.sampled_from(Allocation),
    hairpin=st.sampled_from(Hairpin),
    udp=st.sampled_from(Udp),
    port_mapping=st.sampled_from(["none", "pcp", "nat-pmp", "upnp"]),
    step=st.integers(-65534, 65534),
    load=st.just(0.0) | st.floats(0.001, 65535.0),
    block=st.none() | st.tuples(st.integers(1, 40000), st.integers(40000, 65535)),
    lifetime=st.none() | st.floats(0.5, 86400.0),
)
ANNOUNCEMENTS = st.builds(
    Announcement,
    name=NAMES,
    static_key=st.binary(min_size=32, max_size=32),
    addresses=st.lists(st.sampled_from(["10.86.0.1", "fd00::2"]), max_size=MAX_ADDRESSES).map(tuple),
    candidates=st.lists(st.builds(Candidate, ENDPOINTS, st.sampled_from(CandidateKind)), max_size=MAX_CANDIDATES).map(
        tuple
    ),
    nat=REPORTS,
    relay_only=st.booleans(),
    claimed_since=st.floats(0, 1e11),
    takes_ip=st.booleans(),
    protocol_version=st.integers(1, 65535),
)


def packed(**changes: Any) -> bytes:
    """The announcement of DESK as another implementation might write it, with some keys changed."""
    document: dict[str, Any] = {
        "name": "desk",
        "key": bytes(range(32)),
        "addresses": ["fd00::1", "10.86.0.7"],
        "candidates": [
            [bytes.fromhex("c0a801021388"), "lan"],
            [bytes.fromhex("20010db80000000000000000000000011388"), "ipv6"],
        ],
        "nat": {"mapping": "endpoint_independent", "udp": "open"},
        "relay_only": False,
        "since": 1_700_000_000.5,
        "version": 2,
    }
    document.update(changes)
    body: bytes = msgpack.packb(document)
    return body


def test_a_map_from_elsewhere_is_read() -> None:
    assert decode_announcement(packed()) == DESK


def test_the_bytes_of_a_small_announcement_are_these() -> None:
    small = Announcement("a", bytes(32), (), (), NatReport())
    assert encode_announcement(small) == (
        b"\x88\xa4name\xa1a\xa3key\xc4\x20" + bytes(32) + b"\xa9addresses\x90\xaacandidates\x90\xa3nat\x86"
        b"\xa7mapping\xa7unknown\xa9filtering\xa7unknown\xaaallocation\xa7unknown\xa7hairpin\xa7unknown"
        b"\xa3udp\xa7unknown\xacport_mapping\xa4none\xaarelay_only\xc2\xa5since\xcb" + bytes(8) + b"\xa7version\x02"
    )


@given(ANNOUNCEMENTS)
def test_an_announcement_comes_back_as_it_was(announcement: Announcement) -> None:
    assert decode_announcement(encode_announcement(announcement)) == announcement


def test_the_largest_announcement_fits() -> None:
    """All limits used up at once still stay below the limit of the whole."""
    largest = Announcement(
        name="東" * MAX_NAME,
        static_key=bytes(32),
        addresses=("2001:db8:1111:2222:3333:4444:5555:6666",) * MAX_ADDRESSES,
        candidates=(Candidate(Endpoint("2001:db8::1", 5000), CandidateKind.PEER_REFLEXIVE),) * MAX_CANDIDATES,
        nat=NatReport(
            Mapping.ADDRESS_AND_PORT_DEPENDENT,
            Filtering.ADDRESS_AND_PORT_DEPENDENT,
            Allocation.SEQUENTIAL,
            port_mapping="x" * 64,
            step=-65534,
            load=1234.5,
            block=(65534, 65535),
            lifetime=86399.9,
        ),
        claimed_since=1e11,
        takes_ip=False,
        protocol_version=65535,
    )
    assert len(encode_announcement(largest)) <= MAX_ANNOUNCEMENT


def test_a_node_that_takes_ip_says_nothing_of_it_as_nodes_of_before_do() -> None:
    assert b"\xa2ip" not in encode_announcement(DESK)
    assert b"\xa2ip\xc2" in encode_announcement(replace(DESK, takes_ip=False))
    assert decode_announcement(packed()).takes_ip
    assert not decode_announcement(packed(ip=False)).takes_ip


def test_a_node_that_tells_no_version_is_of_the_first() -> None:
    """Nodes of before do not know the key."""
    document = msgpack.unpackb(packed())
    del document["version"]
    old = decode_announcement(msgpack.packb(document))
    assert old == replace(DESK, protocol_version=1)
    assert b"version" not in encode_announcement(old)


@pytest.mark.parametrize("version", [0, -1, 65536, True, 2.0, "2", None, [2]], ids=repr)
def test_an_impossible_version_makes_the_announcement_invalid(version: object) -> None:
    with pytest.raises(MalformedFrame):
        decode_announcement(packed(version=version))


def test_what_a_newer_node_adds_is_ignored() -> None:
    body = packed(
        ip="by pigeon",
        shoe_size=46,
        candidates=[[bytes.fromhex("c0a801021388"), "lan", "more"], [b"\x01\x02\x03", "by_pigeon"]],
        nat={"mapping": "by_moon_phase", "filtering": ["?"], "udp": "open", "weather": 1},
    )
    assert decode_announcement(body) == replace(DESK, candidates=DESK.candidates[:1], nat=NatReport(udp=Udp.OPEN))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("step", 65535), ("step", -65535), ("step", 1.0), ("step", True), ("step", "1"), ("step", [1]),
        ("load", -0.1), ("load", float("nan")), ("load", float("inf")), ("load", 65536.0), ("load", True), ("load", {}),
        ("block", [2, 1]), ("block", [0, 1]), ("block", [1, 65536]), ("block", [1]), ("block", [1, 2, 3]),
        ("block", [1.0, 2]), ("block", [True, True]), ("block", 7), ("block", {"1": 2}),
        ("lifetime", 0), ("lifetime", -1.0), ("lifetime", float("nan")), ("lifetime", 86401), ("lifetime", False),
    ],
)  # fmt: skip
def test_an_impossible_number_reads_as_unknown(key: str, value: Any) -> None:
    """The announcement of a peer that measures strangely must not be lost for it."""
    assert decode_announcement(packed(nat={"udp": "open", key: value})).nat == NatReport(udp=Udp.OPEN)


def test_the_numbers_of_a_report_are_read() -> None:
    nat = {"step": -2, "load": 3, "block": [40000, 40511], "lifetime": 30}
    assert decode_announcement(packed(nat=nat)).nat == NatReport(step=-2, load=3.0, block=(40000, 40511), lifetime=30.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x91" * 5000,
        b"\x91" * 1024,
        b"\x81\xa4name\xa1",
        b"\x93\x01\x02\x03",
        b"\xdf\xff\xff\xff\xff",
        b"\xc7\x01\x05\x00",
        packed(name=""),
        packed(name="x" * 64),
        packed(name="desk\x1b[2J"),
        packed(name=b"desk"),
        packed(key=bytes(31)),
        packed(addresses=["10.86.0.7"] * 5),
        packed(addresses=["10.86.0.7/16"]),
        packed(addresses=["fe80::1%eth0"]),
        packed(addresses=["127.0.0.1"]),
        packed(addresses=["224.0.0.1"]),
        packed(addresses=[7]),
        packed(candidates=[[bytes.fromhex("c0a801021388"), "lan"]] * 25),
        packed(candidates=[[b"\x01\x02\x03", "lan"]]),
        packed(candidates=[[bytes.fromhex("e00000011388"), "lan"]]),
        packed(candidates=["lan"]),
        packed(nat=[]),
        packed(nat={"port_mapping": "x" * 65}),
        packed(nat={"port_mapping": 3}),
        packed(relay_only=0),
        packed(since=-1.0),
        packed(since=float("nan")),
        packed(since=True),
        packed(extra=bytes(2048)),
    ],
)  # fmt: skip
def test_a_broken_announcement_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode_announcement(body)


@given(st.binary(max_size=100) | st.tuples(st.integers(0, 300), st.integers(0, 255)))
def test_junk_is_an_announcement_or_malformed(junk: bytes | tuple[int, int]) -> None:
    if isinstance(junk, tuple):
        body = bytearray(packed())
        body[junk[0] % len(body)] = junk[1]
        junk = bytes(body)
    try:
        decoded = decode_announcement(junk)
    except MalformedFrame:
        return
    assert decode_announcement(encode_announcement(decoded)) == decoded


@pytest.mark.parametrize(
    "wrong", [replace(DESK, name=""), replace(DESK, candidates=DESK.candidates * 13), replace(DESK, static_key=b"")]
)
def test_we_never_send_an_announcement_that_others_would_refuse(wrong: Announcement) -> None:
    with pytest.raises(LocalProtocolError):
        encode_announcement(wrong)
