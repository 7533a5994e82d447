from __future__ import annotations

import dataclasses
from ipaddress import IPv6Address, IPv6Network

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tunnel.crypto.network_keys import (
    derive_network_keys,
    network_id_of,
    network_name_digest,
    open_invite,
    tunnel_address6,
    tunnel_prefix6,
)
from tunnel.model.errors import SettingsError
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.invite import Invite
from tunnel.wire.invites import encode_invite

SECRET = bytes(range(32))


def test_a_name_and_a_secret_yield_these_keys() -> None:
    """Fixed for good: another derivation would split every network in two."""
    keys = derive_network_keys("home", SECRET)
    assert keys.network_id.raw.hex() == "a9f436b1fce4142ec6ab3772bf8bcd2f"
    assert keys.public_key.hex() == "bcded28bbc997116397ded48bd124f8137fa891556f09abce6e81d24050ba089"
    assert keys.announcement_key.hex() == "4455ce9bd4e452b3004f9b98d85ab713da7114bf670d49498810dd30f45567dc"
    assert keys.psk.hex() == "35bb358ee7857e0188896afa581a7e3a10bfcde3d18efe6f37c1365c95074fba"


def test_the_public_key_belongs_to_the_private_one() -> None:
    keys = derive_network_keys("home", SECRET)
    assert Ed25519PrivateKey.from_private_bytes(keys.private_key).public_key().public_bytes_raw() == keys.public_key
    assert keys.network_id == network_id_of(keys.public_key, network_name_digest("home"))


def test_no_two_keys_of_one_or_two_networks_are_the_same() -> None:
    networks = [derive_network_keys("home", SECRET), derive_network_keys("work", SECRET)]
    secrets = [key for keys in networks for key in (keys.private_key, keys.announcement_key, keys.psk)]
    assert len({*secrets, SECRET}) == 7


def test_no_text_of_the_keys_shows_a_secret() -> None:
    keys = derive_network_keys("home", SECRET)
    text = repr(keys)
    assert "home" in text
    for secret in (keys.private_key, keys.announcement_key, keys.psk):
        assert repr(secret) not in text
        assert secret.hex() not in text


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33)])
def test_a_secret_of_another_size_is_refused(secret: bytes) -> None:
    with pytest.raises(SettingsError, match="32 bytes"):
        derive_network_keys("home", secret)


@pytest.mark.parametrize("name", ["", "x" * 64, "a\nb", " home", "\udcff"])
def test_a_name_that_no_invite_could_hold_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="name"):
        derive_network_keys(name, SECRET)


def test_a_true_invite_opens() -> None:
    keys = derive_network_keys("home", SECRET)
    invite = Invite("wss://host:8443", bytes(32), "home", keys.network_id, SECRET)
    assert open_invite(encode_invite(invite)) == (invite, keys)


@pytest.mark.parametrize("change", [{"secret": bytes(32)}, {"network": "work"}, {"network_id": NetworkId(bytes(16))}])
def test_an_invite_whose_parts_do_not_belong_together_is_found_before_anything_is_sent(
    change: dict[str, object],
) -> None:
    keys = derive_network_keys("home", SECRET)
    invite = Invite("wss://host:8443", None, "home", keys.network_id, SECRET)
    forged = dataclasses.replace(invite, **change)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="ask for a new invite") as caught:
        open_invite(encode_invite(forged))
    assert "\n" not in str(caught.value)


def test_tunnel_addresses_follow_from_the_ids() -> None:
    network, node = NetworkId(bytes(range(16))), NodeId(bytes(range(0x10, 0x20)))
    assert tunnel_prefix6(network) == "fd00:102:304::/48"
    assert tunnel_address6(network, node) == "fd00:102:304:1011:1213:1415:1617:1819"
    assert IPv6Address(tunnel_address6(network, node)) in IPv6Network(tunnel_prefix6(network))
