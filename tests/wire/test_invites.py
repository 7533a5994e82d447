from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import SettingsError
from tunnel.model.identity import NetworkId
from tunnel.model.invite import Invite
from tunnel.wire.invites import decode_invite, encode_invite

INVITE = Invite(
    server="wss://192.0.2.1:8443",
    pin=bytes([1]) * 32,
    network="home",
    network_id=NetworkId(bytes([2]) * 16),
    secret=bytes(range(0xA0, 0xC0)),
)
TEXT = encode_invite(INVITE)
NAMES = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=63)
INVITES = st.builds(
    Invite,
    server=st.from_regex(r"wss?://[a-z0-9.]{1,40}(:[0-9]{1,5})?", fullmatch=True),
    pin=st.none() | st.binary(min_size=32, max_size=32),
    network=NAMES,
    network_id=st.binary(min_size=16, max_size=16).map(NetworkId),
    secret=st.binary(min_size=32, max_size=32),
)


def text_of(document: Any) -> str:
    """Any document as an invite with a checksum that fits: what a hostile hand can write."""
    packed = msgpack.packb(document, use_bin_type=True)
    return text_of_bytes(packed)


def text_of_bytes(packed: bytes) -> str:
    checksum = hashlib.sha256(b"p2pt1-" + packed).digest()[:4]
    return "p2pt1-" + base64.urlsafe_b64encode(packed + checksum).decode().rstrip("=")


def test_an_invite_is_this_text() -> None:
    """Fixed for good: invites lie in people's notes."""
    assert TEXT == (
        "p2pt1-lbR3c3M6Ly8xOTIuMC4yLjE6ODQ0M8QgAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQGkaG9tZcQQ"
        "AgICAgICAgICAgICAgICAsQgoKGio6SlpqeoqaqrrK2ur7CxsrO0tba3uLm6u7y9vr_4b1NA"
    )
    assert text_of(["wss://192.0.2.1:8443", bytes([1]) * 32, "home", bytes([2]) * 16, INVITE.secret]) == TEXT


@given(INVITES)
def test_an_invite_comes_back_as_it_was(invite: Invite) -> None:
    assert decode_invite(encode_invite(invite)) == invite


@given(
    st.lists(
        st.tuples(st.integers(0, len(TEXT)), st.sampled_from(["\n", " ", "\r\n", "\t", "\u00a0", "\ufeff", "\u200b"])),
        max_size=6,
    )
)
def test_spaces_and_line_breaks_anywhere_do_no_harm(blanks: list[tuple[int, str]]) -> None:
    text = TEXT
    for position, blank in blanks:
        text = text[:position] + blank + text[position:]
    assert decode_invite(text) == INVITE


@given(st.integers(0, len(TEXT) - 1))
def test_a_cut_invite_is_found(size: int) -> None:
    with pytest.raises(SettingsError):
        decode_invite(TEXT[:size])


@given(st.integers(6, len(TEXT) - 2), st.sampled_from("ABCXYZabcxyz0189-_!+/= é"))
def test_a_mistyped_character_is_found(position: int, character: str) -> None:
    text = TEXT[:position] + character + TEXT[position + 1 :]
    if text == TEXT:
        return
    with pytest.raises(SettingsError, match="copy it again"):
        decode_invite(text)


@given(st.text(max_size=100) | st.binary(max_size=200).map(text_of_bytes) | st.text(max_size=60).map("p2pt1-".__add__))
def test_junk_is_a_settings_error_of_one_line(junk: str) -> None:
    with pytest.raises(SettingsError) as caught:
        decode_invite(junk)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "begins with p2pt1-"),
        ("hello", "begins with p2pt1-"),
        ("p2pt2-abcdef", "another version"),
        ("p2pt1-", "copy it again"),
        ("p2pt1-AAAA", "copy it again"),
        ("p2pt1-" + "A" * 3000, "longer than"),
    ],
)
def test_the_error_says_what_to_do(text: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=hint):
        decode_invite(text)


FIELDS: list[Any] = [INVITE.server, INVITE.pin, INVITE.network, INVITE.network_id.raw, INVITE.secret]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        FIELDS[:4],
        {"server": INVITE.server},
        ["wss://h:1\x1b[2J", *FIELDS[1:]],
        ["http://h:1", *FIELDS[1:]],
        ["wss://" + "h" * 600, *FIELDS[1:]],
        [INVITE.server, b"short", *FIELDS[2:]],
        [INVITE.server, "text", *FIELDS[2:]],
        [*FIELDS[:2], "", *FIELDS[3:]],
        [*FIELDS[:2], "a\nb", *FIELDS[3:]],
        [*FIELDS[:2], "x" * 64, *FIELDS[3:]],
        [*FIELDS[:3], b"id", FIELDS[4]],
        [*FIELDS[:4], b"short"],
        [*FIELDS[:4], "text"],
        [[[[[[[[]]]]]]]],
    ],
)
def test_a_whole_invite_with_wrong_fields_is_refused(document: Any) -> None:
    with pytest.raises(SettingsError):
        decode_invite(text_of(document))


def test_fields_of_a_newer_invite_are_ignored() -> None:
    assert decode_invite(text_of([*FIELDS, "new"])) == INVITE


@pytest.mark.parametrize(
    "change",
    [
        {"server": "host:8443"},
        {"server": "wss://a b"},
        {"pin": b"short"},
        {"network": ""},
        {"network": "home "},
        {"secret": b"short"},
    ],
)
def test_an_invite_that_would_not_come_back_is_not_made(change: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        encode_invite(replace(INVITE, **change))


def test_no_error_and_no_repr_shows_the_secret() -> None:
    encoded = TEXT.removeprefix("p2pt1-")
    for text in (TEXT[:-3], TEXT[:40] + "!" + TEXT[41:], encoded, text_of([*FIELDS[:2], "", *FIELDS[3:]])):
        with pytest.raises(SettingsError) as caught:
            decode_invite(text)
        assert not any(encoded[start : start + 8] in str(caught.value) for start in range(len(encoded) - 8))
        assert caught.value.__cause__ is None
    assert repr(INVITE.secret) not in repr(INVITE)
    assert "secret" not in repr(INVITE)
