"""The plaintext of an announcement: one MessagePack map (docs/protocol.md). crypto/announcement_seal.py seals it.

Newer nodes may say more than we know: unknown keys are ignored, an unknown word or an impossible number for a NAT
property reads as unknown, a candidate of an unknown kind is skipped. If anything else is wrong, the whole announcement
is refused.
"""

from __future__ import annotations

import ipaddress
import math
from enum import Enum
from typing import Any, TypeVar

import msgpack

from tunnel.model.announcement import MAX_ADDRESSES, MAX_CANDIDATES, MAX_NAME, Announcement
from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.errors import LocalProtocolError, MalformedFrame
from tunnel.model.nat import Allocation, Filtering, Hairpin, Mapping, NatReport, Udp
from tunnel.model.protocol_version import FIRST_VERSION, LAST_VERSION
from tunnel.wire.packed_endpoint import decode_endpoint, encode_endpoint

MAX_ANNOUNCEMENT = 2048
STATIC_KEY_BYTES = 32
MAX_PORT = 65535
MAX_LOAD = 65535.0
"""Ports per second: nobody takes more than all of them."""
MAX_LIFETIME = 86400.0
_MAX_TEXT = 64
_Word = TypeVar("_Word", bound=Enum)


def encode_announcement(announcement: Announcement) -> bytes:
    """At most 2048 bytes. Raises LocalProtocolError if a limit of model/announcement.py is not kept."""
    packed: bytes = msgpack.packb(
        {
            "name": announcement.name,
            "key": announcement.static_key,
            "addresses": list(announcement.addresses),
            "candidates": [[encode_endpoint(c.endpoint), c.kind.value] for c in announcement.candidates],
            "nat": _nat_map(announcement.nat),
            "relay_only": announcement.relay_only,
            "since": announcement.claimed_since,
        }
        | ({} if announcement.takes_ip else {"ip": False})
        | ({} if announcement.protocol_version == FIRST_VERSION else {"version": announcement.protocol_version})
    )
    try:
        decode_announcement(packed)
    except MalformedFrame as error:
        raise LocalProtocolError(f"our own announcement is not well formed: {error}") from None
    return packed


def decode_announcement(body: bytes) -> Announcement:
    """An announcement within all limits. Raises MalformedFrame."""
    if len(body) > MAX_ANNOUNCEMENT:
        raise MalformedFrame(f"an announcement of {len(body)} bytes is longer than {MAX_ANNOUNCEMENT}")
    try:
        document = msgpack.unpackb(body, raw=False, strict_map_key=True, max_ext_len=0)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedFrame(f"not MessagePack: {type(error).__name__}") from None
    match document:
        case {
            "name": str() as name,
            "key": bytes() as static_key,
            "addresses": list() as addresses,
            "candidates": list() as candidates,
            "nat": dict() as nat,
            "relay_only": bool() as relay_only,
            "since": (float() | int()) as since,
        } if not isinstance(since, bool):
            pass
        case _:
            raise MalformedFrame("an announcement lacks a field or has one of the wrong type")
    if not _is_name(name):
        raise MalformedFrame(f"a name has 1 to {MAX_NAME} printable characters")
    if len(static_key) != STATIC_KEY_BYTES:
        raise MalformedFrame(f"a static key of {len(static_key)} bytes")
    if len(addresses) > MAX_ADDRESSES or len(candidates) > MAX_CANDIDATES:
        raise MalformedFrame(f"more than {MAX_ADDRESSES} addresses or {MAX_CANDIDATES} candidates")
    if not 0.0 <= since < 1e12:
        raise MalformedFrame("an address claim of an impossible time")
    return Announcement(
        name=name,
        static_key=static_key,
        addresses=tuple(_tunnel_address(item) for item in addresses),
        candidates=tuple(candidate for item in candidates if (candidate := _candidate(item)) is not None),
        nat=_nat_report(nat),
        relay_only=relay_only,
        claimed_since=float(since),
        takes_ip=document.get("ip") is not False,
        protocol_version=_version(document.get("version", FIRST_VERSION)),
    )


def _is_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME and name.isprintable() and name == name.strip()


def _version(value: Any) -> int:
    if type(value) is not int or not FIRST_VERSION <= value <= LAST_VERSION:
        raise MalformedFrame("an impossible version")
    return value


def _tunnel_address(text: Any) -> str:
    if not isinstance(text, str) or len(text) > _MAX_TEXT or "%" in text:
        raise MalformedFrame("a tunnel address is a numeric address")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise MalformedFrame("a tunnel address is a numeric address") from None
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        raise MalformedFrame("a tunnel address that no host can have")
    return str(address)


def _candidate(item: Any) -> Candidate | None:
    match item:
        case [bytes() as packed, str() as kind, *_]:
            if kind not in _CANDIDATE_KINDS:
                return None
            return Candidate(decode_endpoint(packed), _CANDIDATE_KINDS[kind])
    raise MalformedFrame("a candidate is [endpoint, kind]")


def _nat_map(nat: NatReport) -> dict[str, Any]:
    """All the words, and the numbers that are known."""
    words: dict[str, Any] = {
        "mapping": nat.mapping.value,
        "filtering": nat.filtering.value,
        "allocation": nat.allocation.value,
        "hairpin": nat.hairpin.value,
        "udp": nat.udp.value,
        "port_mapping": nat.port_mapping,
    }
    block = list(nat.block) if nat.block else None
    numbers = {"step": nat.step, "load": nat.load, "block": block, "lifetime": nat.lifetime}
    return words | {key: value for key, value in numbers.items() if value}


def _nat_report(nat: dict[Any, Any]) -> NatReport:
    port_mapping = nat.get("port_mapping", "none")
    if not isinstance(port_mapping, str) or len(port_mapping) > _MAX_TEXT or not port_mapping.isprintable():
        raise MalformedFrame("a NAT report names its port mapping protocol with a word")
    return NatReport(
        mapping=_word(nat.get("mapping"), Mapping.UNKNOWN),
        filtering=_word(nat.get("filtering"), Filtering.UNKNOWN),
        allocation=_word(nat.get("allocation"), Allocation.UNKNOWN),
        hairpin=_word(nat.get("hairpin"), Hairpin.UNKNOWN),
        udp=_word(nat.get("udp"), Udp.UNKNOWN),
        port_mapping=port_mapping,
        step=_step(nat.get("step")),
        load=_positive(nat.get("load"), MAX_LOAD) or 0.0,
        block=_block(nat.get("block")),
        lifetime=_positive(nat.get("lifetime"), MAX_LIFETIME),
    )


def _word(value: Any, unknown: _Word) -> _Word:
    return next((member for member in type(unknown) if member.value == value), unknown)


def _step(value: Any) -> int:
    return value if type(value) is int and -MAX_PORT < value < MAX_PORT else 0


def _positive(value: Any, most: float) -> float | None:
    """A positive number up to `most`."""
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 < value <= most:
        return None
    return float(value)


def _block(value: Any) -> tuple[int, int] | None:
    match value:
        case [int() as first, int() as last] if 0 < first <= last <= MAX_PORT and type(first) is type(last) is int:
            return first, last
    return None


_CANDIDATE_KINDS = {kind.value: kind for kind in CandidateKind}
