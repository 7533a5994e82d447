"""Where a server answers UDP, by its own word and by where we reached it."""

from __future__ import annotations

import pytest

from tunnel.model.endpoint import Endpoint, parse_endpoint
from tunnel.node.told_endpoints import place


def endpoints(*texts: str) -> tuple[Endpoint, ...]:
    return tuple(parse_endpoint(text) for text in texts)


@pytest.mark.parametrize(
    ("told", "reached", "placed"),
    [
        pytest.param(("0.0.0.0:3478", "0.0.0.0:3479"), "25.0.0.2:443", ("25.0.0.2:3478", "25.0.0.2:3479"), id="dialed"),
        pytest.param(
            ("25.0.0.1:3478", "25.0.0.2:3478"), "25.0.0.2:443", ("25.0.0.1:3478", "25.0.0.2:3478"), id="named"
        ),
        pytest.param(("10.0.0.5:3478",), "25.0.0.2:443", ("25.0.0.2:3478",), id="forwarded"),
        pytest.param(("10.0.0.5:3478",), "192.168.1.9:443", ("10.0.0.5:3478",), id="inside a site"),
        pytest.param(("0.0.0.0:3478", "25.0.0.1:3478"), "25.0.0.1:443", ("25.0.0.1:3478",), id="told twice"),
        pytest.param(("0.0.0.0:3478",), "[64:ff9b::1900:1]:443", ("[64:ff9b::1900:1]:3478",), id="through a NAT64"),
        pytest.param(
            ("[::]:3478", "0.0.0.0:3478"), "[2a25::1]:443", ("[2a25::1]:3478",), id="no address of that family"
        ),
    ],
)
def test_a_port_without_a_host_stands_where_the_server_was_reached(
    told: tuple[str, ...], reached: str, placed: tuple[str, ...]
) -> None:
    assert place(endpoints(*told), parse_endpoint(reached), ()) == endpoints(*placed)


def test_a_name_with_one_address_of_the_other_family_tells_where_those_ports_are() -> None:
    """A node that dialed IPv6 still wants to know how its IPv4 NAT maps."""
    told = endpoints("0.0.0.0:3478", "[::]:3478")
    reached, *others = endpoints("[2a25::1]:443", "25.0.0.1:443")
    assert place(told, reached, (reached, *others)) == endpoints("25.0.0.1:3478", "[2a25::1]:3478")


def test_of_a_name_with_several_such_addresses_none_is_guessed() -> None:
    """They may be other machines, and a circuit is known to one alone."""
    told = endpoints("0.0.0.0:3478", "[::]:3478")
    reached, *others = endpoints("[2a25::1]:443", "25.0.0.1:443", "25.0.0.2:443")
    assert place(told, reached, (reached, *others)) == endpoints("[2a25::1]:3478")
