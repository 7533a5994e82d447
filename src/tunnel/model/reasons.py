"""Why a peer has no direct path, as a value with evidence, and what a person can do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ReasonCode(Enum):
    """The typed reasons. Their values are the stable words that `status --json` shows."""

    UDP_BLOCKED = "udp_blocked"
    BOTH_HARD_NATS = "both_hard_nats"
    PEER_INFO_TIMEOUT = "peer_info_timeout"
    PEER_OFFLINE = "peer_offline"
    SERVER_UNREACHABLE = "server_unreachable"
    PROBES_UNANSWERED = "probes_unanswered"
    GUESSING_FAILED = "guessing_failed"
    PUNCH_BUSY = "punch_busy"
    PATH_TOO_SMALL = "path_too_small"
    PATH_LOST = "path_lost"
    UDP_THROTTLED = "udp_throttled"
    RELAY_ONLY_BY_POLICY = "relay_only_by_policy"
    NO_CANDIDATES = "no_candidates"
    REFUSED = "refused"
    NO_SESSION = "no_session"
    VERSION_MISMATCH = "version_mismatch"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason and the facts that led to it."""

    code: ReasonCode
    evidence: str = ""


REMEDIES: dict[ReasonCode, str] = {
    ReasonCode.UDP_BLOCKED: "Let UDP leave that network, to any port. Until then the relay carries the data, over TCP.",
    ReasonCode.BOTH_HARD_NATS: (
        "Switch on UPnP or PCP on one of the two routers; or open a UDP port there and start that side with "
        "--udp-port N --external IP:PORT; or use IPv6 on both sides."
    ),
    ReasonCode.PEER_INFO_TIMEOUT: (
        "The other side is registered but did not announce itself in time; see `status` there. It is tried again by itself."
    ),
    ReasonCode.PEER_OFFLINE: "Start `p2ptunnel-trio up` on the other machine, or see there why it cannot reach the server.",
    ReasonCode.SERVER_UNREACHABLE: "Check that the server runs and that its TCP port can be reached from here.",
    ReasonCode.PROBES_UNANSWERED: (
        "Most often a firewall on the way drops the probes: allow UDP from any port on both machines, or declare an open "
        "port with --external IP:PORT. With two Linux routers on one segment, drop INPUT on the WAN side of both. It is "
        "tried again by itself."
    ),
    ReasonCode.GUESSING_FAILED: (
        "A NAT gives each peer another port, and none was guessed within the budget. It is tried once more after some "
        "seconds, then hourly. For a path at once and for good: switch on UPnP or PCP on either router, open a UDP port "
        "there and start that side with --udp-port N --external IP:PORT, or use IPv6 on both sides."
    ),
    ReasonCode.PUNCH_BUSY: (
        "Guessing ports is limited: a node does it for one peer at a time, rests after each try, and sends only so many "
        "packets an hour to one address. The evidence says which limit it was, or that the two did not begin together. It "
        "is tried again by itself: within seconds, or within the hour if the packets are used up."
    ),
    ReasonCode.PATH_TOO_SMALL: (
        "The direct path answers small packets but drops those of 1200 bytes. Raise the MTU on the way to at least 1248 bytes, "
        "or let ICMP 'fragmentation needed' pass."
    ),
    ReasonCode.PATH_LOST: "The direct path stopped answering; the relay carries the data, and it is tried again by itself.",
    ReasonCode.UDP_THROTTLED: (
        "A network on the way slows UDP down, so data goes over the server, inside TCP. UDP is tried again by itself, "
        "after minutes and then hourly; --no-udp leaves it alone for good."
    ),
    ReasonCode.RELAY_ONLY_BY_POLICY: (
        "One side was started with --relay-only or --no-udp. Leave that option out to allow direct paths."
    ),
    ReasonCode.NO_CANDIDATES: "No address of ours or theirs can reach the other (IPv4 against IPv6, or no interface is up).",
    ReasonCode.REFUSED: "The server refused the introduction; the evidence says why.",
    ReasonCode.NO_SESSION: "The peers are agreeing on keys, which takes seconds. If it stays so, see `status` on the other machine.",
    ReasonCode.VERSION_MISMATCH: (
        "Install the same version of p2ptunnel-trio on both machines and start it again: the evidence says which one is "
        "older. Until then they exchange no data."
    ),
    ReasonCode.INTERNAL_ERROR: "This is a bug in p2ptunnel-trio. The log holds a traceback: please report it.",
}
