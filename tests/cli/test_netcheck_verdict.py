"""The last line of `netcheck` promises what the matrix of pairs keeps, and nothing that was not seen."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cli.test_netcheck_view import DOWN, EASY, NO_PORT, told

from tunnel.cli.netcheck_verdict import verdict_of
from tunnel.model.nat import Mapping, Udp

HARD = {"mapping": "address_and_port_dependent"}
MAPPED = {**NO_PORT, "state": "mapped", "protocol": "upnp", "external": "198.51.100.4:40000", "lease_s": 7200}
IPV6 = {"ipv6": {"address": True, "reached": True, "filtering": "unknown"}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "most peers will reach you directly, hard NATs after some seconds"),
        ({"mapping": "none"}, "nearly every peer will reach you directly: there is no NAT"),
        ({**HARD, "allocation": "random"}, "other hard NATs over the relay"),
        ({**HARD, "allocation": "sequential"}, "other hard NATs perhaps"),
        ({**HARD, **IPV6}, "directly too where both sides have IPv6"),
        ({**HARD, "port_mappings": [MAPPED]}, "nearly every peer will reach you directly: a port is open"),
        ({**HARD, "port_mappings": [{**MAPPED, "note": "behind another NAT"}]}, "other hard NATs over the relay"),
        ({**HARD, "external": "198.51.100.4:4242"}, "a port is open"),
        ({"reflexive": ["[2001:db8::4]:40000"], "mapping": "none", **IPV6}, "peers with IPv6 will reach you directly"),
        ({"relay_only": True}, "over the relay, by --relay-only"),
        ({"udp": "blocked", "reflexive": [], "mapping": "unknown"}, "over the relay: UDP does not get out"),
        ({"udp": "blocked", "reflexive": [], "mapping": "unknown", "server": DOWN}, "is this machine online?"),
        ({"udp": "limited"}, "expect the relay"),
        ({"udp": "unknown", "reflexive": []}, "none: there was no STUN server to ask"),
        ({"mapping": "unknown"}, "none: the answers are too few"),
        ({"mapping": "by_moon_phase"}, "none: "),
        ({"reflexive": []}, "none: no answer shows this machine"),
        ({"server": DOWN}, "but no new peer finds you until the server is reached"),
        ({"reflexive": ["192.168.1.7:40000"], "mapping": "none"}, "none: only servers inside this network"),
        ({"reflexive": ["127.0.0.1:40000"], "mapping": "none"}, "none: only servers inside this network"),
    ],
)
def test_the_verdict_is_what_was_seen(changes: dict[str, Any], words: str) -> None:
    assert words in verdict_of(EASY | changes)


@pytest.mark.parametrize("udp", Udp, ids=lambda word: word.value)
@pytest.mark.parametrize("mapping", Mapping, ids=lambda word: word.value)
def test_every_report_has_a_verdict(udp: Udp, mapping: Mapping) -> None:
    verdict = verdict_of(EASY | {"udp": udp.value, "mapping": mapping.value})
    is_promise = "will reach you directly" in verdict
    assert is_promise == (udp is Udp.OPEN and mapping is not Mapping.UNKNOWN)


def test_a_check_ends_with_its_verdict() -> None:
    assert told()[-1] == ["verdict", verdict_of(EASY)]


@pytest.mark.parametrize("mapping", Mapping, ids=lambda word: word.value)
def test_a_verdict_is_one_line_of_80_columns(mapping: Mapping) -> None:
    assert len("verdict  " + verdict_of(EASY | {"mapping": mapping.value})) <= 80
