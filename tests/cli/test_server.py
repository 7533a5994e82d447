"""`server`: options become settings, one line says where it serves, and a signal ends it."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from tunnel.cli import launch
from tunnel.cli import server as server_module
from tunnel.cli.server import ServerOptions
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, SettingsError
from tunnel.model.settings import ServerSettings

Command = Callable[..., Any]


def test_the_options_become_the_settings() -> None:
    options = ServerOptions(
        listen="192.0.2.1:9000",
        also_listen=("[2001:db8::1]:9000", "[2001:db8::2]"),
        udp=("192.0.2.1:3478", "192.0.2.2"),
        http="127.0.0.1:80",
        state=Path("/srv/a"),
        certificate=Path("cert.pem"),
        private_key=Path("key.pem"),
        addresses="10.9.0.0/24",
    )
    assert options.settings() == ServerSettings(
        listen=Endpoint("192.0.2.1", 9000),
        also_listen=(Endpoint("2001:db8::1", 9000), Endpoint("2001:db8::2", 8443)),
        udp=(Endpoint("192.0.2.1", 3478), Endpoint("192.0.2.2", 3478)),
        http=Endpoint("127.0.0.1", 80),
        state=Path("/srv/a"),
        certificate=Path("cert.pem"),
        private_key=Path("key.pem"),
        addresses="10.9.0.0/24",
    )


def test_the_udp_relay_is_on_unless_it_is_switched_off() -> None:
    assert ServerOptions().settings().udp_relay
    assert not ServerOptions(no_udp_relay=True).settings().udp_relay


@pytest.mark.parametrize(
    ("listen", "endpoint", "http"),
    [
        ("192.0.2.1", Endpoint("192.0.2.1", 8443), Endpoint("127.0.0.1", 8444)),
        ("[2001:db8::1]:9", Endpoint("2001:db8::1", 9), Endpoint("127.0.0.1", 10)),
        ("127.0.0.1:0", Endpoint("127.0.0.1", 0), Endpoint("127.0.0.1", 0)),
        ("127.0.0.1:65535", Endpoint("127.0.0.1", 65535), Endpoint("127.0.0.1", 0)),
    ],
)
def test_http_takes_the_next_port_on_loopback(listen: str, endpoint: Endpoint, http: Endpoint) -> None:
    settings = ServerOptions(listen=listen).settings()
    assert (settings.listen, settings.http) == (endpoint, http)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (ServerOptions(listen="host.name:1"), "host.name:1"),
        (ServerOptions(udp=("x:y",)), "x:y"),
        (ServerOptions(http="80"), "80"),
        (ServerOptions(certificate=Path("c")), "--private-key"),
        (ServerOptions(private_key=Path("c")), "--certificate"),
        (ServerOptions(addresses="10.86.0.1/16"), "write 10.86.0.0/16"),
        (
            ServerOptions(addresses="10.0.0.0/33"),
            "--addresses '10.0.0.0/33' is not an IPv4 network such as 10.86.0.0/16",
        ),
        (ServerOptions(addresses="10.86.0.0/31"), "--addresses"),
        (ServerOptions(addresses="fd00::/64"), "--addresses"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_option_is_named(options: ServerOptions, word: str) -> None:
    with pytest.raises(SettingsError) as caught:
        options.settings()
    assert word in str(caught.value)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "start_logging", lambda *_, **__: None)


@pytest.mark.parametrize(
    ("pin", "line"),
    [
        (bytes(32), "ready wss://192.0.2.1:8443 sha256:" + "A" * 43 + "=\n"),
        (None, "ready wss://192.0.2.1:8443\n"),
    ],
    ids=["pinned", "without TLS"],
)
def test_the_ready_line_is_alone_on_stdout_and_sigterm_is_a_clean_end(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pin: bytes | None, line: str
) -> None:
    async def serve(settings: ServerSettings, *, task_status: trio.TaskStatus[Any]) -> None:
        task_status.started(SimpleNamespace(url="wss://192.0.2.1:8443", pin=pin, stun=(), http=None))
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep_forever()

    monkeypatch.setattr(launch, "serve_here", serve)
    ended = command("server", "--state", str(tmp_path / "state"))
    assert (ended.code, ended.out) == (0, line)
    assert (tmp_path / "state").is_dir()


@pytest.mark.parametrize(
    ("port", "option"),
    [
        ("TCP 192.0.2.1:443", "--listen"),
        ("TCP 127.0.0.1:444", "--http"),
        ("UDP 192.0.2.1:3478", "--udp"),
        ("UDP 192.0.2.1:3479", "--udp"),
    ],
)
def test_a_port_that_cannot_be_had_is_one_line_that_names_its_option(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: str, option: str
) -> None:
    async def serve(settings: ServerSettings, *, task_status: trio.TaskStatus[Any]) -> None:
        await trio.lowlevel.checkpoint()
        raise DeviceError(f"{port} cannot be used: root only") from OSError(errno.EACCES, "no")

    monkeypatch.setattr(launch, "serve_here", serve)
    ended = command("server", "--listen", "192.0.2.1:443", "--state", str(tmp_path))
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert f"no right to use {port}: ports below 1024 need root or CAP_NET_BIND_SERVICE" in ended.err
    assert ended.err.endswith(f" with {option}\n")
