"""Our tunnel addresses: what a server may lease, and what a damaged file is worth."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import DeviceError, MalformedFrame
from tunnel.model.identity import NetworkId, NodeId
from tunnel.network.memory_store import MemoryStore
from tunnel.node.lease import LEASE_FILE, Lease, check_lease

NETWORK, NODE = NetworkId(bytes(16)), NodeId(bytes(16))


def lease_of(content: bytes | None) -> Lease:
    store = MemoryStore()
    if content is not None:
        store.write(LEASE_FILE, content)
    return Lease(store, NETWORK, NODE)


def test_without_a_lease_there_is_the_ipv6_address_alone() -> None:
    lease = lease_of(None)
    assert lease.addresses == ("fd00::",)
    assert lease.interfaces == ("fd00::/48",)
    assert lease.host == ""


def test_a_lease_comes_first_and_outlives_the_process() -> None:
    store = MemoryStore()
    Lease(store, NETWORK, NODE).take("10.86.0.7/16", 1234.5)
    again = Lease(store, NETWORK, NODE)
    assert again.addresses == ("10.86.0.7", "fd00::")
    assert again.interfaces == ("10.86.0.7/16", "fd00::/48")
    assert again.since == 1234.5


def test_what_the_server_of_another_network_leased_is_none() -> None:
    store = MemoryStore()
    Lease(store, NetworkId(b"\x01" * 16), NODE).take("10.86.0.7/16", 1234.5)
    assert Lease(store, NETWORK, NODE).address is None


def test_a_lease_that_an_older_version_kept_names_no_network_and_holds() -> None:
    assert lease_of(b"10.86.0.7/16 1.0").host == "10.86.0.7"


def test_it_knows_its_own_addresses_packed_and_no_longer_those_that_it_had() -> None:
    lease = lease_of(b"10.86.0.7/16 1.0")
    own6 = bytes.fromhex("fd00") + bytes(14)
    assert lease.holds(own6)
    assert lease.holds(bytes([10, 86, 0, 7]))
    lease.take("10.86.0.8/16", 2.0)
    assert lease.holds(own6)
    assert lease.holds(bytes([10, 86, 0, 8]))
    assert not lease.holds(bytes([10, 86, 0, 7]))
    assert not lease.holds(bytes([10, 86, 255, 255]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"nonsense 1.0",
        b"10.86.0.7/16",
        b"10.86.0.7/16 soon",
        b"10.86.0.7/16 nan",
        b"10.86.0.7/16 inf",
        b"10.86.0.7/16 -1",
        b"8.8.8.8/8 1.0",
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_lease_is_none(content: bytes) -> None:
    assert lease_of(content).address is None


@given(st.binary(max_size=64))
def test_whatever_the_file_holds_a_node_starts(content: bytes) -> None:
    assert lease_of(content).interfaces[-1] == "fd00::/48"


@pytest.mark.parametrize("address", ["10.0.0.1/8", "172.16.3.4/12", "192.168.9.9/24", "100.64.0.1/10", "10.86.0.7/30"])
def test_a_private_prefix_may_be_leased(address: str) -> None:
    assert check_lease(address) == address


@given(st.text(max_size=40))
def test_any_other_text_is_refused_or_has_a_plain_form(text: str) -> None:
    try:
        plain = check_lease(text)
    except MalformedFrame:
        return
    assert check_lease(plain) == plain


def test_a_full_disk_costs_the_next_start_its_address_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    class FullStore(MemoryStore):
        def write(self, name: str, content: bytes) -> None:
            raise DeviceError("no space left on device")

    lease = Lease(FullStore(), NETWORK, NODE)
    with caplog.at_level(logging.WARNING):
        lease.take("10.86.0.7/16", 1.0)
    assert lease.host == "10.86.0.7"
    assert "no space left" in caplog.text
