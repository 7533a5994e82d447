"""Prefixes that a tunnel may live in."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from tunnel.model.pools import is_pool
from tunnel.model.settings import ServerSettings


@pytest.mark.parametrize("text", ["10.86.0.0/16", "192.168.7.0/24", "100.64.0.0/10", "198.18.0.0/15", "10.0.0.0/8"])
def test_private_prefixes_are_pools(text: str) -> None:
    assert is_pool(IPv4Network(text))


@pytest.mark.parametrize("text", ["0.0.0.0/0", "10.0.0.0/7", "8.8.8.0/24", "127.0.0.0/8", "10.0.0.0/31"])
def test_what_would_take_over_other_routes_is_none(text: str) -> None:
    assert not is_pool(IPv4Network(text, strict=False))


def test_the_default_pool_of_the_server_is_one() -> None:
    assert is_pool(IPv4Network(ServerSettings().addresses))
