"""The server's TLS certificate: the operator's, or a self-signed one that is kept, so that its pin stays the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tunnel.model.errors import SettingsError
from tunnel.model.settings import ServerSettings
from tunnel.network.ports import Entropy, Store
from tunnel.network.tls import check_certificate, fingerprint_of, make_certificate

STORED = "server.pem"
_MARK = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A certificate (or chain) and its key, both PEM."""

    certificate: bytes
    private_key: bytes = field(repr=False)

    @property
    def pin(self) -> bytes:
        """SHA-256 of the certificate, which invites carry: 32 bytes."""
        return fingerprint_of(self.certificate)


def open_certificate(settings: ServerSettings, store: Store, entropy: Entropy) -> ServerCertificate:
    """The certificate that the settings name, else the stored self-signed one, else a new one, which is stored.

    Raises SettingsError for files that cannot be read, DeviceError when the store fails.
    """
    if settings.certificate is not None and settings.private_key is not None:
        given = ServerCertificate(_read(settings.certificate), _read(settings.private_key))
        check_certificate(given.certificate, given.private_key)
        return given
    if settings.certificate is not None or settings.private_key is not None:
        raise SettingsError("certificate and private_key belong together: give both or neither")
    stored = store.read(STORED)
    if stored is not None:
        private_key, mark, rest = stored.partition(_MARK)
        return ServerCertificate(mark + rest, private_key)
    certificate, private_key = make_certificate(entropy.token)
    store.write(STORED, private_key + certificate)  # one file: never a key without its certificate
    return ServerCertificate(certificate, private_key)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
