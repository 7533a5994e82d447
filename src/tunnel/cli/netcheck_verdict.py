"""The last line of `netcheck`: how peers will reach this machine, as far as this check shows.

It promises no more than the matrix of pairs (docs/reach.md) keeps. The rest depends on the other side's network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunnel.model.endpoint import Scope, scope_of, split_host_port
from tunnel.model.errors import SettingsError
from tunnel.model.nat import HARD_MAPPINGS

Json = Mapping[str, Any]

_HARD = frozenset(mapping.value for mapping in HARD_MAPPINGS)


def verdict_of(found: Json) -> str:
    """The verdict on a `netcheck --json` document (docs/status.md)."""
    return "; ".join((_of_paths(found), *_provisos(found)))


def _of_paths(found: Json) -> str:
    if found.get("relay_only"):
        return "every peer reaches you over the relay, by --relay-only"
    match found["udp"]:
        case "blocked" if not _is_online(found):
            return "none: nobody answers at all, is this machine online?"
        case "blocked":
            return "peers outside reach you over the relay: UDP does not get out"
        case "limited":
            return "expect the relay: of UDP only single datagrams pass here"
        case "unknown":
            return "none: there was no STUN server to ask"
    if is_open(found):
        return "nearly every peer will reach you directly: a port is open"
    if not found["reflexive"]:
        return "none: no answer shows this machine as others see it"
    if not any(map(_is_outside, found["reflexive"])):
        return "none: only servers inside this network were asked"
    if all(endpoint.startswith("[") for endpoint in found["reflexive"]):
        return "peers with IPv6 will reach you directly, others over the relay"
    match found["mapping"]:
        case "none":
            return "nearly every peer will reach you directly: there is no NAT here"
        case "endpoint_independent":
            return "most peers will reach you directly, hard NATs after some seconds"
        case _ if has_hard_nat(found):
            return _of_hard(found)
    return "none: the answers are too few, or contradict each other"


def _of_hard(found: Json) -> str:
    is_predictable = found["allocation"] in ("sequential", "block")
    others = "other hard NATs perhaps" if is_predictable else "other hard NATs over the relay"
    return f"most peers will reach you directly, {others}"


def _provisos(found: Json) -> Iterator[str]:
    if found["udp"] != "open" or found.get("relay_only"):
        return
    if has_hard_nat(found) and not is_open(found) and found["ipv6"]["reached"]:
        yield "directly too where both sides have IPv6"
    if not _is_online(found):
        yield "but no new peer finds you until the server is reached"


def has_hard_nat(found: Json) -> bool:
    """Whether each peer sees a different external port of ours."""
    return found["mapping"] in _HARD


def is_open(found: Json) -> bool:
    """Whether every peer reaches us at a port that a gateway granted or that somebody opened by hand."""
    granted = (one for one in found["port_mappings"] if one["family"] == "ipv4" and one["external"] is not None)
    return found.get("external") is not None or any(not one["note"] for one in granted)


def _is_outside(endpoint: str) -> bool:
    """Whether it is an endpoint on the internet. One that cannot be read counts as such."""
    try:
        return scope_of(split_host_port(endpoint)[0]) is Scope.GLOBAL
    except (SettingsError, ValueError):
        return True


def _is_online(found: Json) -> bool:
    server = found.get("server")
    return server is None or server["state"] == "registered"
