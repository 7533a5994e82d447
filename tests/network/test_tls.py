"""TLS over streams in memory: the right server is known by its pin, every other one is refused."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Callable

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.network.stream_pair import open_streams
from trio.testing import MockClock

from tunnel.model.errors import Refused, SettingsError, Unreachable
from tunnel.network.tls import (
    client_tls,
    fingerprint_of,
    make_certificate,
    parse_pin,
    pin_text,
    server_tls,
    shown_fingerprint,
)

CERTIFICATE, KEY = make_certificate(os.urandom)


async def greet(host: str, pin: bytes | None, certificate: bytes = CERTIFICATE, key: bytes = KEY) -> bytes:
    """What a server with this certificate says to a client with this pin."""
    async with open_streams() as (stream, served, _), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            try:
                secured = await server_tls(served, certificate, key)
                await secured.send_all(b"hello")
                await secured.aclose()
            except (Unreachable, trio.BrokenResourceError):
                pass  # the client did not like us

        secured = await client_tls(stream, host, pin)
        return bytes(await secured.receive_some())


async def test_the_right_pin_opens_whatever_the_name_is(autojump_clock: MockClock) -> None:
    assert await greet("any.example", fingerprint_of(CERTIFICATE)) == b"hello"
    assert await greet("25.0.0.2", fingerprint_of(CERTIFICATE)) == b"hello"


async def test_both_ends_know_the_same_fingerprint(autojump_clock: MockClock) -> None:
    """What a node proves toward the server covers it."""
    async with open_streams() as (stream, served, _), trio.open_nursery() as nursery:
        nursery.start_soon(server_tls, served, CERTIFICATE, KEY)
        secured = await client_tls(stream, "server", fingerprint_of(CERTIFICATE))
        assert shown_fingerprint(secured) == fingerprint_of(CERTIFICATE)
        assert shown_fingerprint(stream) == b""


async def test_a_wrong_pin_is_refused_and_both_are_named(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(Refused, check=lambda error: error.code == "wrong_pin"), flatten_subgroups=True
    ) as caught:
        await greet("server", bytes(32))
    text = str(caught.value.exceptions[0])
    assert pin_text(bytes(32)) in text
    assert pin_text(fingerprint_of(CERTIFICATE)) in text


async def test_without_a_pin_a_self_made_certificate_is_refused(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(Refused, check=lambda error: error.code == "wrong_certificate"), flatten_subgroups=True
    ):
        await greet("server", None)


@pytest.mark.parametrize(("clock", "words"), [(4e9, "not yet valid"), (1e9, "expired")])
async def test_a_certificate_of_another_time_names_what_the_clock_shows(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, clock: float, words: str
) -> None:
    """Small boards start in 1970: then the certificate is right and the clock is wrong, and only a person can tell."""
    with monkeypatch.context() as then:
        then.setattr("tunnel.network.tls.time.time", lambda: clock)
        certificate, key = make_certificate(os.urandom)
    trusting = ssl.create_default_context(cadata=certificate.decode())
    trusting.verify_flags &= ~ssl.VERIFY_X509_STRICT
    monkeypatch.setattr("tunnel.network.tls._authority_context", lambda: trusting)
    with pytest.RaisesGroup(
        pytest.RaisesExc(Refused, check=lambda error: error.code == "wrong_date"), flatten_subgroups=True
    ) as caught:
        await greet("p2ptunnel-trio.invalid", None, certificate, key)
    text = str(caught.value.exceptions[0])
    assert words in text
    assert "; the clock of this machine shows 20" in text


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"\x15\x03\x03\x00\x02\x02\x28"]
)
async def test_a_server_that_speaks_no_tls_is_unreachable(autojump_clock: MockClock, answer: bytes) -> None:
    async with open_streams() as (stream, served, _):
        await served.send_all(answer)
        with pytest.raises(Unreachable, match="no TLS"):
            await client_tls(stream, "server", bytes(32))
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05junk!", b"\x00" * 100])
async def test_a_client_that_speaks_no_tls_is_an_error_of_its_own_connection(
    autojump_clock: MockClock, data: bytes
) -> None:
    async with open_streams() as (stream, served, _):
        await stream.send_all(data)
        with pytest.raises(Unreachable, match="no TLS"):
            await server_tls(served, CERTIFICATE, KEY)


async def test_a_connection_that_ends_within_the_handshake_is_unreachable(autojump_clock: MockClock) -> None:
    async with open_streams() as (stream, served, _):
        await served.aclose()
        with pytest.raises(Unreachable, match="no TLS: the connection ended"):
            await client_tls(stream, "server", bytes(32))


async def test_a_certificate_and_a_foreign_key_are_told_apart(autojump_clock: MockClock) -> None:
    _, foreign = make_certificate(os.urandom)
    async with open_streams() as (_, served, _):
        with pytest.raises(SettingsError, match="together"):
            await server_tls(served, CERTIFICATE, foreign)


def test_a_certificate_lives_for_ten_years_and_is_known_by_its_hash() -> None:
    parsed = x509.load_pem_x509_certificate(CERTIFICATE)
    assert (parsed.not_valid_after_utc - parsed.not_valid_before_utc).days == 3653
    assert fingerprint_of(CERTIFICATE) == hashlib.sha256(parsed.public_bytes(Encoding.DER)).digest()
    assert fingerprint_of(CERTIFICATE + make_certificate(os.urandom)[0]) == fingerprint_of(CERTIFICATE)


def test_the_same_chance_makes_the_same_key_and_other_chance_another() -> None:
    def token(fill: int) -> Callable[[int], bytes]:
        return lambda size: bytes([fill]) * size

    assert make_certificate(token(1))[1] == make_certificate(token(1))[1]
    assert make_certificate(token(1))[1] != make_certificate(token(2))[1]


def test_what_is_no_certificate_has_no_fingerprint() -> None:
    with pytest.raises(SettingsError):
        fingerprint_of(b"junk")


def test_a_pin_is_written_and_read() -> None:
    pin = bytes(range(224, 256))
    assert pin_text(pin) == "sha256:4OHi4+Tl5ufo6err7O3u7/Dx8vP09fb3+Pn6+/z9/v8="
    for text in (pin_text(pin), pin_text(pin).rstrip("="), f" {pin_text(pin).replace('+', '-').replace('/', '_')}\n"):
        assert parse_pin(text) == pin


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:AAAA", "md5:" + "A" * 44, "sha256:" + "!" * 44, "A" * 44, "sha256:ä"]
)
def test_what_is_no_pin_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(SettingsError, match="sha256:BASE64"):
        parse_pin(text)
