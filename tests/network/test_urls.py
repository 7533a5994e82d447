"""The server's address as people write it."""

from __future__ import annotations

import pytest

from tunnel.model.errors import SettingsError
from tunnel.network.urls import ServerUrl


@pytest.mark.parametrize(
    ("text", "url", "again"),
    [
        ("wss://tunnel.example:443", ServerUrl("tunnel.example", 443), "wss://tunnel.example:443"),
        ("wss://tunnel.example", ServerUrl("tunnel.example", 8443), "wss://tunnel.example:8443"),
        (" WSS://Tunnel.Example/\n", ServerUrl("tunnel.example", 8443), "wss://tunnel.example:8443"),
        ("ws://25.0.0.1:80", ServerUrl("25.0.0.1", 80, is_tls=False), "ws://25.0.0.1:80"),
        ("wss://[2001:db8::1]:8443", ServerUrl("2001:db8::1", 8443), "wss://[2001:db8::1]:8443"),
        ("wss://[2001:db8::1]", ServerUrl("2001:db8::1", 8443), "wss://[2001:db8::1]:8443"),
    ],
)
def test_a_url_is_read_and_written(text: str, url: ServerUrl, again: str) -> None:
    assert ServerUrl.parse(text) == url
    assert str(url) == again
    assert ServerUrl.parse(again) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tunnel.example:8443",
        "https://tunnel.example",
        "wss://",
        "wss://:8443",
        "wss://tunnel.example:0",
        "wss://tunnel.example:65536",
        "wss://tunnel.example:port",
        "wss://me@tunnel.example",
        "wss://tunnel.example/path",
        "wss://tunnel.example?x=1",
        "wss://tunnel example",
    ],
)
def test_what_is_no_server_url_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(SettingsError):
        ServerUrl.parse(text)
