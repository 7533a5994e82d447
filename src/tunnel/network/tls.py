"""TLS over any byte stream. The server is authenticated by its certificate's fingerprint (a pin) or by authorities.

A pin is the SHA-256 of the whole certificate (DER). With a pin nothing else about the certificate matters: neither its
name, its dates nor its issuer. Without one the system's certificate authorities and the host name decide.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import os
import ssl
import time
from collections.abc import Callable
from functools import lru_cache

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tunnel.model.errors import DeviceError, Refused, SettingsError, Unreachable
from tunnel.network.tls_stream import TlsStream

PIN_BYTES = 32
_PIN_PREFIX = "sha256:"
_LIFE = datetime.timedelta(days=3653)
_NAME = "p2ptunnel-trio server"
_DATE_ERRORS = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL's <x509_vfy.h>."""


def make_certificate(token: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """A self-signed Ed25519 certificate for ten years, and its private key: both PEM. `token` gives random bytes."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    private_key = Ed25519PrivateKey.from_private_bytes(token(32))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    begin = datetime.datetime.fromtimestamp(time.time() // 86400 * 86400, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(int.from_bytes(token(16), "big") >> 1 | 1)
        .not_valid_before(begin)
        .not_valid_after(begin + _LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("p2ptunnel-trio.invalid")]), critical=False)
        .sign(private_key, algorithm=None)
    )
    key_pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem


def fingerprint_of(certificate: bytes) -> bytes:
    """SHA-256 of a PEM certificate's DER form, 32 bytes; of a chain, its first. Raises SettingsError."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        parsed = x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise SettingsError(f"this is no PEM certificate: {error}") from None
    return hashlib.sha256(parsed.public_bytes(serialization.Encoding.DER)).digest()


def pin_text(pin: bytes) -> str:
    """A pin in its text form: sha256:BASE64."""
    return _PIN_PREFIX + base64.b64encode(pin).decode()


def parse_pin(text: str) -> bytes:
    """32 bytes from sha256:BASE64; missing padding and the URL alphabet are accepted. Raises SettingsError."""
    prefix, encoded = text.strip()[: len(_PIN_PREFIX)], text.strip()[len(_PIN_PREFIX) :]
    try:
        padded = encoded.rstrip("=").replace("-", "+").replace("_", "/") + "="
        pin = base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        pin = b""
    if prefix.lower() != _PIN_PREFIX or len(pin) != PIN_BYTES:
        raise SettingsError(f"{text!r} is no pin: it looks like sha256:BASE64, as `server` prints it when it is ready")
    return pin


async def client_tls(stream: trio.abc.Stream, host: str, pin: bytes | None) -> trio.abc.Stream:
    """TLS as the client; `host` is the server's name. The stream is closed if the handshake fails.

    Raises Refused with `wrong_pin`, `wrong_certificate` or `wrong_date` (by this machine's clock) if it is not the
    expected server, Unreachable if it does not speak TLS. The caller bounds the time.
    """
    context = _pinned_context() if pin is not None else _authority_context()
    secured = TlsStream(stream, context, server_hostname=host)
    try:
        await _handshake(secured)
        if pin is not None:
            _check_pin(secured, pin)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured


def shown_fingerprint(secured: trio.abc.Stream) -> bytes:
    """SHA-256 of the certificate that the server showed on this stream of `client_tls`; empty without TLS."""
    if not isinstance(secured, TlsStream):
        return b""
    return hashlib.sha256(secured.peer_certificate).digest()


async def server_tls(stream: trio.abc.Stream, certificate: bytes, private_key: bytes) -> trio.abc.Stream:
    """TLS as the server, with a PEM certificate (or chain) and its key. The stream is closed if the handshake fails.

    Raises Unreachable if the client does not speak TLS, SettingsError if certificate and key do not match.
    """
    context = _server_context(certificate, private_key)
    secured = TlsStream(stream, context)
    try:
        await _handshake(secured)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured


def check_certificate(certificate: bytes, private_key: bytes) -> None:
    """Raise SettingsError unless this PEM certificate and key match, so that it is known before a client connects."""
    _server_context(certificate, private_key)


async def _handshake(secured: TlsStream) -> None:
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in _DATE_ERRORS:
            here = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
            text = f"{cause.verify_message}; the clock of this machine shows {here:%Y-%m-%d %H:%M} UTC"
            raise Refused("wrong_date", text) from error
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise Refused("wrong_certificate", cause.verify_message) from error
        reason = getattr(cause, "reason", None)
        ended = reason in (None, "UNEXPECTED_EOF_WHILE_READING")
        raise Unreachable(f"no TLS: {'the connection ended' if ended else reason}") from error
    except ssl.CertificateError as error:
        raise Refused("wrong_certificate", str(error)) from error


def _check_pin(secured: TlsStream, pin: bytes) -> None:
    found = shown_fingerprint(secured)
    if not hmac.compare_digest(found, pin):
        raise Refused("wrong_pin", f"the invite expects {pin_text(pin)}, the server shows {pin_text(found)}")


@lru_cache(maxsize=1)
def _pinned_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the pin is checked instead, before a byte is sent
    return context


def _authority_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@lru_cache(maxsize=4)
def _server_context(certificate: bytes, private_key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # else a write might have to read first
    context.num_tickets = 0  # nobody resumes
    # The ssl module reads keys from files only; this one exists in memory alone.
    with open(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb") as file:
        file.write(private_key.rstrip() + b"\n" + certificate)
        file.flush()
        try:
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise SettingsError(f"the server's certificate and key cannot be used together: {reason}") from None
        except OSError as error:
            raise DeviceError(f"the certificate cannot be loaded: {error.strerror}; is /proc mounted?") from error
    return context


def _no_password() -> str:
    """A key that needs a password is an error, not a question on the terminal."""
    raise ValueError("the private key is encrypted; give one that is not")
