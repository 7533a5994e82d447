"""The environment's words on proxies, as other programs read them."""

from __future__ import annotations

import base64

import pytest

from tunnel.model.errors import SettingsError
from tunnel.model.proxies import Proxies, Proxy, UnsupportedProxy

PROXY = "http://proxy.test:3128"


def found(host: str = "server.test", scheme: str = "wss", **said: str) -> str:
    """HOST:PORT (VARIABLE) of the proxy for SCHEME://HOST:443; empty: none."""
    proxy = Proxies(said).find(host, 443, is_tls=scheme == "wss")
    return "" if proxy is None else str(proxy)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, ""),
        ({"HTTPS_PROXY": PROXY}, "proxy.test:3128 (HTTPS_PROXY)"),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, "proxy.test:3128 (https_proxy)"),
        ({"https_proxy": "", "ALL_PROXY": PROXY}, "proxy.test:3128 (ALL_PROXY)"),
        ({"all_proxy": "proxy.test:3128/"}, "proxy.test:3128 (all_proxy)"),
        ({"HTTPS_PROXY": "http://proxy.test"}, "proxy.test:80 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "http://[2a25::1]:8080"}, "[2a25::1]:8080 (HTTPS_PROXY)"),
        ({"http_proxy": PROXY}, ""),
    ],
)
def test_the_proxy_of_a_server_with_tls(said: dict[str, str], told: str) -> None:
    assert found(**said) == told


def test_a_server_without_tls_has_a_variable_of_its_own() -> None:
    """HTTP_PROXY in capitals is what a CGI program gets from a request's header `Proxy`."""
    assert found(scheme="ws", http_proxy=PROXY) == "proxy.test:3128 (http_proxy)"
    assert found(scheme="ws", HTTPS_PROXY=PROXY, HTTP_PROXY=PROXY) == ""
    assert found(scheme="ws", ALL_PROXY=PROXY) == "proxy.test:3128 (ALL_PROXY)"


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_direct"),
    [
        ("*", "server.test", True),
        ("server.test", "server.test", True),
        ("SERVER.test", "server.test", True),
        (".test", "server.test", True),
        ("*.test", "server.test", True),
        ("test", "server.test", True),
        ("erver.test", "server.test", False),
        ("server.test:443", "server.test", True),
        ("server.test:8443", "server.test", False),
        ("a.example, server.test", "server.test", True),
        ("a.example b.example", "server.test", False),
        ("25.0.0.0/8", "25.0.0.1", True),
        ("25.0.0.1", "25.0.0.1", True),
        ("25.0.0.1:443", "25.0.0.1", True),
        ("25.0.0.1:8443", "25.0.0.1", False),
        ("0.1", "25.0.0.1", False),
        ("2a25::/16", "2a25::1", True),
        ("[2a25::1]:443", "2a25::1", True),
        ("", "localhost", True),
        ("", "127.0.0.1", True),
        ("", "::1", True),
        ("", "server.test", False),
    ],
)
def test_who_is_reached_without_one(no_proxy: str, host: str, is_direct: bool) -> None:
    assert (found(host, HTTPS_PROXY=PROXY, NO_PROXY=no_proxy) == "") == is_direct
    assert (found(host, HTTPS_PROXY=PROXY, no_proxy=no_proxy, NO_PROXY="*") == "") == (is_direct or not no_proxy)


def test_a_password_is_said_to_the_proxy_and_shown_to_nobody() -> None:
    proxy = Proxies({"HTTPS_PROXY": "http://m%40x:s%3Acret@proxy.test:3128"}).find("server.test", 443, is_tls=True)
    assert isinstance(proxy, Proxy)
    assert proxy.authorization == "Basic " + base64.b64encode(b"m@x:s:cret").decode()
    assert not any(secret in text for text in (str(proxy), repr(proxy)) for secret in ("cret", "m%40x", "Basic"))


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "https"])
def test_another_kind_of_proxy_is_said_to_be_not_spoken(scheme: str) -> None:
    proxy = Proxies({"ALL_PROXY": f"{scheme}://me:secret@127.0.0.1:9050"}).find("server.test", 443, is_tls=True)
    assert proxy == UnsupportedProxy(scheme, "ALL_PROXY")
    assert f"ALL_PROXY names a {scheme} proxy, which is not supported" in str(proxy)
    assert "secret" not in repr(proxy)


@pytest.mark.parametrize(
    "text", ["http://", "http://:3128", "http://me:secret@proxy:port", "http://a b:1", "http://[::1"]
)
def test_what_is_no_url_is_named_by_its_variable_without_its_secret(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^HTTPS_PROXY is not the URL of a proxy") as caught:
        found(HTTPS_PROXY=text)
    assert "secret" not in str(caught.value)
