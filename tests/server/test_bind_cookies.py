"""A cookie holds for one side, one 5-tuple and a short time."""

from __future__ import annotations

from tunnel.model.endpoint import Endpoint
from tunnel.server.bind_cookies import COOKIE_PERIOD, BindCookies
from tunnel.server.circuits import FiveTuple
from tunnel.wire.circuits import COOKIE_BYTES

KEY = b"k" * 32
HERE = FiveTuple(0, "192.0.2.1", Endpoint("198.51.100.7", 40000))
ELSEWHERE = (
    HERE._replace(socket=1),
    HERE._replace(own="192.0.2.2"),
    HERE._replace(remote=Endpoint("198.51.100.7", 40001)),
    HERE._replace(remote=Endpoint("198.51.100.8", 40000)),
)


def test_a_cookie_is_fresh_for_its_period_and_the_next_one() -> None:
    cookies = BindCookies(b"secret")
    cookie = cookies.cookie_for(KEY, HERE, 0.0)
    assert len(cookie) == COOKIE_BYTES
    assert cookies.is_fresh(cookie, KEY, HERE, COOKIE_PERIOD * 2 - 0.1)
    assert not cookies.is_fresh(cookie, KEY, HERE, COOKIE_PERIOD * 2)


def test_a_cookie_proves_no_other_five_tuple_and_no_other_side() -> None:
    """Else one that was heard at one address would bind another, or the other side of the circuit."""
    cookies = BindCookies(b"secret")
    cookie = cookies.cookie_for(KEY, HERE, 0.0)
    assert not any(cookies.is_fresh(cookie, KEY, five_tuple, 0.0) for five_tuple in ELSEWHERE)
    assert not cookies.is_fresh(cookie, b"o" * 32, HERE, 0.0)


def test_a_cookie_of_another_start_of_the_server_is_not_fresh() -> None:
    cookie = BindCookies(b"before").cookie_for(KEY, HERE, 0.0)
    assert not BindCookies(b"after").is_fresh(cookie, KEY, HERE, 0.0)
