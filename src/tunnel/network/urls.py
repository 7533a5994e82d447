"""The server's address as people write it: wss://HOST:PORT. Simulations have ws://HOST:PORT, without TLS."""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.model.endpoint import split_host_port
from tunnel.model.errors import SettingsError
from tunnel.model.settings import SERVER_PORT


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """Where the server listens; `str` gives the URL back."""

    host: str
    """A name or a numeric address, without brackets."""
    port: int
    is_tls: bool = True

    @classmethod
    def parse(cls, text: str) -> ServerUrl:
        """Read a URL; the port may be left out (8443). Raises SettingsError."""
        scheme, separator, rest = text.strip().partition("://")
        if not separator or scheme.lower() not in ("wss", "ws"):
            raise SettingsError(f"{text!r} is no server URL: write wss://HOST:PORT")
        authority = rest.removesuffix("/")
        if any(character in authority for character in "/?#@ "):
            raise SettingsError(f"{text!r} has more than a host and a port: write wss://HOST:PORT")
        host, port = split_host_port(authority, SERVER_PORT)
        if port == 0:
            raise SettingsError(f"{text!r} names port 0, on which nobody can listen")
        return cls(host.lower(), port, scheme.lower() == "wss")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.is_tls else 'ws'}://{host}:{self.port}"
