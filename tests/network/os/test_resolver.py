"""The system's resolver, asked only for what this machine knows by itself."""

from __future__ import annotations

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Unreachable
from tunnel.network.os.resolver import RealResolver


async def test_a_numeric_host_resolves_to_itself_in_its_shortest_form() -> None:
    assert await RealResolver().resolve("192.0.2.1", 5) == (Endpoint("192.0.2.1", 5),)
    assert await RealResolver().resolve("2001:DB8:0:0::1", 5) == (Endpoint("2001:db8::1", 5),)


async def test_this_machines_own_name_is_known() -> None:
    endpoints = await RealResolver().resolve("localhost", 80)
    assert endpoints
    assert set(endpoints) <= {Endpoint("127.0.0.1", 80), Endpoint("::1", 80)}


@pytest.mark.parametrize("name", ["no..name", "x" * 300, "a b"])
async def test_what_is_no_name_is_unreachable(name: str) -> None:
    with pytest.raises(Unreachable, match="cannot be resolved"):
        await RealResolver().resolve(name, 80)
