"""A place where a node may be reached directly (RFC 8445, section 5.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunnel.model.endpoint import Endpoint


class CandidateKind(Enum):
    """How a candidate became known."""

    LAN = "lan"
    IPV6 = "ipv6"
    REFLEXIVE = "reflexive"
    MAPPED = "mapped"
    DECLARED = "declared"
    PREDICTED = "predicted"
    PEER_REFLEXIVE = "peer_reflexive"


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """One endpoint at which a node may be reached, and how that is known."""

    endpoint: Endpoint
    kind: CandidateKind
