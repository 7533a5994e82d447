"""NATs by their common names, in the terms of RFC 4787."""

from __future__ import annotations

from tunnel.model.nat import Allocation, Filtering, Mapping
from tunnel.verify.reachability.topology import Hairpinning, Nat

NATS: dict[str, Nat] = {
    "full_cone": Nat(filtering=Filtering.ENDPOINT_INDEPENDENT),
    "address_restricted": Nat(filtering=Filtering.ADDRESS_DEPENDENT),
    "port_restricted": Nat(),
    "symmetric": Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.RANDOM),
    "sequential": Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.SEQUENTIAL),
    "block": Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.BLOCK),
    "carrier": Nat(
        filtering=Filtering.ENDPOINT_INDEPENDENT,
        allocation=Allocation.BLOCK,
        hairpinning=Hairpinning.EXTERNAL_SOURCE,
    ),
}
"""Unless the name says otherwise, mapping is endpoint-independent and allocation preserves ports."""
