"""The certificate and so the pin stay the same, whoever made them."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tunnel.model.errors import SettingsError
from tunnel.model.settings import ServerSettings
from tunnel.network.memory_store import MemoryStore
from tunnel.network.tls import check_certificate, fingerprint_of, make_certificate
from tunnel.server.certificate import STORED, open_certificate
from tunnel.verify.memory.machine import MemoryEntropy

ENTROPY = MemoryEntropy(random.Random(1))


def test_a_self_made_certificate_is_kept_and_its_pin_stays() -> None:
    store = MemoryStore()
    first = open_certificate(ServerSettings(), store, ENTROPY)
    again = open_certificate(ServerSettings(), store, ENTROPY)
    assert again == first
    assert again.pin == first.pin == fingerprint_of(first.certificate)
    check_certificate(again.certificate, again.private_key)
    assert list(store.files) == [STORED]


def test_another_server_has_another_pin() -> None:
    pins = {open_certificate(ServerSettings(), MemoryStore(), ENTROPY).pin for _ in range(2)}
    assert len(pins) == 2


def test_a_given_certificate_is_used_and_nothing_is_kept(tmp_path: Path) -> None:
    settings, certificate = given(tmp_path, *make_certificate(ENTROPY.token))
    store = MemoryStore()
    assert open_certificate(settings, store, ENTROPY).pin == fingerprint_of(certificate)
    assert store.files == {}


def test_a_key_that_does_not_fit_is_found_before_anybody_connects(tmp_path: Path) -> None:
    certificate, _ = make_certificate(ENTROPY.token)
    _, other_key = make_certificate(ENTROPY.token)
    settings, _ = given(tmp_path, certificate, other_key)
    with pytest.raises(SettingsError, match="together"):
        open_certificate(settings, MemoryStore(), ENTROPY)


@pytest.mark.parametrize("missing", ["certificate", "private_key"])
def test_half_of_a_pair_is_a_settings_error(tmp_path: Path, missing: str) -> None:
    settings, _ = given(tmp_path, *make_certificate(ENTROPY.token))
    with pytest.raises(SettingsError, match="both or neither"):
        open_certificate(replace(settings, **{missing: None}), MemoryStore(), ENTROPY)  # type: ignore[arg-type]
    absent = replace(settings, **{missing: tmp_path / "absent.pem"})  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="cannot be read"):
        open_certificate(absent, MemoryStore(), ENTROPY)


def test_the_key_never_shows() -> None:
    assert "PRIVATE" not in repr(open_certificate(ServerSettings(), MemoryStore(), ENTROPY))


def given(folder: Path, certificate: bytes, private_key: bytes) -> tuple[ServerSettings, bytes]:
    """Settings that name the pair's files."""
    (folder / "certificate.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(private_key)
    return ServerSettings(certificate=folder / "certificate.pem", private_key=folder / "key.pem"), certificate
