"""What a node knows of the NATs in front of it, in the words of RFC 4787 and RFC 5780."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Mapping(Enum):
    """Does one local port keep one external port (RFC 4787, section 4.1)?"""

    UNKNOWN = "unknown"
    NONE = "none"
    ENDPOINT_INDEPENDENT = "endpoint_independent"
    ADDRESS_DEPENDENT = "address_dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address_and_port_dependent"
    DEPENDENT = "dependent"
    """It changes with the destination. With one server address alone we cannot tell whether the port matters too."""


class Filtering(Enum):
    """Whose packets pass inwards through a mapping (RFC 4787, section 5)?"""

    UNKNOWN = "unknown"
    NONE = "none"
    ENDPOINT_INDEPENDENT = "endpoint_independent"
    ADDRESS_DEPENDENT = "address_dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address_and_port_dependent"


class Allocation(Enum):
    """How external ports are chosen."""

    UNKNOWN = "unknown"
    PRESERVING = "preserving"
    SEQUENTIAL = "sequential"
    RANDOM = "random"
    BLOCK = "block"


class Hairpin(Enum):
    """Do two hosts behind this NAT reach each other by its outer address (RFC 4787, section 6)?"""

    UNKNOWN = "unknown"
    YES = "yes"
    NO = "no"


class Udp(Enum):
    """Does UDP reach the internet at all?"""

    UNKNOWN = "unknown"
    OPEN = "open"
    LIMITED = "limited"
    """Single packets pass, but most of a burst is lost: something limits the rate."""
    BLOCKED = "blocked"


HARD_MAPPINGS = frozenset({Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT, Mapping.DEPENDENT})


@dataclass(frozen=True, slots=True)
class NatReport:
    """One node's NAT behavior, as far as it was observed."""

    mapping: Mapping = Mapping.UNKNOWN
    filtering: Filtering = Filtering.UNKNOWN
    allocation: Allocation = Allocation.UNKNOWN
    hairpin: Hairpin = Hairpin.UNKNOWN
    udp: Udp = Udp.UNKNOWN
    port_mapping: str = "none"
    """The protocol that mapped a port: none, pcp, nat-pmp or upnp."""
    step: int = 0
    """SEQUENTIAL: the signed distance between two of our ports that were allocated in a row; 0: not known."""
    load: float = 0.0
    """Ports per second that others took from the same allocator while ours were sampled."""
    block: tuple[int, int] | None = None
    """BLOCK: first and last port of the range from which our ports come, as far as we saw it."""
    lifetime: float | None = None
    """For how many seconds an idle mapping was seen to live; None: not measured yet."""

    @property
    def is_hard(self) -> bool:
        """Whether peers cannot learn our external port from a STUN server."""
        return self.mapping in HARD_MAPPINGS
