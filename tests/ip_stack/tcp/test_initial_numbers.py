"""Initial numbers (RFC 6528): a stranger cannot guess them, and for one pair of endpoints they rise."""

from __future__ import annotations

import pytest
from tests.ip_stack.tcp.link import A, B

from tunnel.ip_stack.tcp.initial_numbers import InitialNumberSource
from tunnel.ip_stack.tcp.sequence import is_before
from tunnel.model.endpoint import Endpoint

SOURCE = InitialNumberSource(b"0123456789abcdef")


def test_they_rise_every_four_microseconds() -> None:
    first, second = SOURCE.of(A, B, 1000.0), SOURCE.of(A, B, 1001.0)
    assert (second.sequence - first.sequence) % (1 << 32) == 250_000
    assert is_before(first.sequence, second.sequence)


def test_they_depend_on_the_endpoints_and_the_secret() -> None:
    other = InitialNumberSource(b"another secret..")
    found = {
        SOURCE.of(A, B, 0.0),
        SOURCE.of(B, A, 0.0),
        SOURCE.of(A, Endpoint(B.host, B.port + 1), 0.0),
        other.of(A, B, 0.0),
    }
    assert len({numbers.sequence for numbers in found}) == 4


def test_timestamps_of_one_pair_of_hosts_rise_whatever_the_ports() -> None:
    """So TIME-WAIT can be reused (RFC 6191)."""
    assert SOURCE.of(A, B, 0.0).timestamp == SOURCE.of(Endpoint(A.host, 1), Endpoint(B.host, 2), 9.0).timestamp


@pytest.mark.parametrize("size", [0, 15, 33])
def test_a_secret_of_another_size_is_a_bug(size: int) -> None:
    with pytest.raises(ValueError):
        InitialNumberSource(bytes(size))
