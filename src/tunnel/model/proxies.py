"""The HTTP proxies that the environment names, as curl and most programs read them.

    https_proxy, HTTPS_PROXY   for wss://          http_proxy   for ws:// (in capitals it may come from a CGI request)
    all_proxy, ALL_PROXY       if those are not set
    no_proxy, NO_PROXY         hosts, domains, addresses and networks that are reached without one; `*` means all

A password never leaves this file in the clear: `str` and `repr` of a proxy show only host and port.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tunnel.model.endpoint import Endpoint, Scope, scope_of
from tunnel.model.errors import SettingsError

_DEFAULT_PORT = 80
_TLS, _PLAIN = ("https_proxy", "HTTPS_PROXY"), ("http_proxy",)
_ALL, _NONE = ("all_proxy", "ALL_PROXY"), ("no_proxy", "NO_PROXY")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that is asked to CONNECT."""

    host: str
    """A name or a numeric address, without brackets."""
    port: int
    variable: str
    """The environment variable that names it."""
    authorization: str | None = field(default=None, repr=False)
    """The value of Proxy-Authorization (RFC 7617)."""

    def __str__(self) -> str:
        return f"{Endpoint(self.host, self.port)} ({self.variable})"


@dataclass(frozen=True, slots=True)
class UnsupportedProxy:
    """A proxy of another kind, which this program cannot use."""

    scheme: str
    variable: str

    def __str__(self) -> str:
        return (
            f"{self.variable} names a {self.scheme} proxy, which is not supported: the server is dialed directly. "
            f"Name an HTTP proxy (http://HOST:PORT) in HTTPS_PROXY, or the server's host in NO_PROXY"
        )


class Proxies:
    """What an environment says about proxies; empty by default."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        known = (*_TLS, *_PLAIN, *_ALL, *_NONE)
        self._said = {name: text for name in known if (text := (environment or {}).get(name, "").strip())}

    def find(self, host: str, port: int, *, is_tls: bool) -> Proxy | UnsupportedProxy | None:
        """The proxy on the way to this server, if any. This machine itself is never reached by a proxy.

        Raises SettingsError, naming the variable, for what is not the URL of a proxy.
        """
        names = (*(_TLS if is_tls else _PLAIN), *_ALL)
        variable = next((name for name in names if name in self._said), None)
        if variable is None or self._is_excepted(host, port):
            return None
        return _parse(variable, self._said[variable])

    def _is_excepted(self, host: str, port: int) -> bool:
        address = _address(host)
        if host == "localhost" or (address is not None and scope_of(host) is Scope.LOOPBACK):
            return True
        texts = (self._said[name] for name in _NONE if name in self._said)
        return any(_covers(one, host, port, address) for one in _entries(next(texts, "")))


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _entries(text: str) -> Iterator[str]:
    return (entry.lower() for entry in text.replace(",", " ").split())


def _covers(entry: str, host: str, port: int, address: _Address | None) -> bool:
    if entry == "*":
        return True
    if address is not None:
        return any(address in network for network in _networks(entry, port))
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit():
        if int(wanted) != port:
            return False
        entry = name
    domain = entry.removeprefix("*").removeprefix(".")
    return bool(domain) and (host == domain or host.endswith("." + domain))


def _networks(entry: str, port: int) -> Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The network or address that an entry names; 25.0.0.1:443 and [2a25::1]:443 are for that port alone."""
    texts = [entry.strip("[]")]
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted == str(port):
        texts.append(name.strip("[]"))
    for text in texts:
        try:
            yield ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue


def _address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _parse(variable: str, text: str) -> Proxy | UnsupportedProxy:
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, None
    else:
        if url.scheme and url.scheme != "http":
            return UnsupportedProxy(url.scheme, variable)
    if not host or any(character.isspace() or not character.isprintable() for character in host):
        raise SettingsError(
            f"{variable} is not the URL of a proxy: write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"
        )
    authorization = None
    if url.username is not None:
        user, password = unquote(url.username), unquote(url.password or "")
        authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return Proxy(host, _DEFAULT_PORT if port is None else port, variable, authorization)
