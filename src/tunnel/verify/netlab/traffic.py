"""The traffic of a lab's internet, read from the JSON that `ip` and `nft` print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}
"""nft prints the bare number where there is no /etc/protocols, as on a minimal Debian."""


class Count(NamedTuple):
    """Packets and bytes."""

    packets: int
    bytes: int


class LinkCount(NamedTuple):
    """One link, seen from the internet."""

    sent: Count
    """By the site."""

    received: Count
    """By the site."""


class Flow(NamedTuple):
    """One direction between two public addresses."""

    source: str
    destination: str
    protocol: str
    """As nft names it: `udp`, `tcp`, `icmp`."""


def link_counts(text: str, links: Sequence[str]) -> dict[str, LinkCount]:
    """From `ip -j -s link show`."""
    counts = {}
    for link in json.loads(text):
        if link["ifname"] in links:
            received, sent = link["stats64"]["rx"], link["stats64"]["tx"]
            counts[link["ifname"]] = LinkCount(
                Count(received["packets"], received["bytes"]), Count(sent["packets"], sent["bytes"])
            )
    return counts


def flow_counts(text: str) -> dict[Flow, Count]:
    """From `nft -j list table`: all of its sets `source . destination . protocol` with counters."""
    counts = {}
    for part in json.loads(text)["nftables"]:
        if not part.get("set", {}).get("name", "").startswith("flows"):
            continue
        for element in part["set"].get("elem", ()):
            source, destination, protocol = element["elem"]["val"]["concat"]
            flow = Flow(source, destination, _PROTOCOLS.get(protocol, str(protocol)))
            counter = element["elem"]["counter"]
            counts[flow] = Count(counter["packets"], counter["bytes"])
    return counts
