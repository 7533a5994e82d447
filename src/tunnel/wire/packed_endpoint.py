"""An endpoint as bytes: the address (4 or 16), then the port (2), network order. Names and zones do not travel."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from tunnel.model.endpoint import Endpoint, is_usable, packed_host
from tunnel.model.errors import MalformedFrame

IPV4_ENDPOINT_BYTES = 6
IPV6_ENDPOINT_BYTES = 18


@lru_cache(4096)
def encode_endpoint(endpoint: Endpoint) -> bytes:
    """6 or 18 bytes. The host must be numeric (a zone index is left out), the port below 65536."""
    return packed_host(endpoint.host) + endpoint.port.to_bytes(2, "big")


@lru_cache(4096)
def decode_endpoint(packed: bytes) -> Endpoint:
    """An endpoint that a datagram may be sent to, its host in the shortest numeric form. Raises MalformedFrame.

    IPv4 addresses inside IPv6 ones (RFC 4291 section 2.5.5.2) are refused: one endpoint would have two forms.
    """
    if len(packed) not in (IPV4_ENDPOINT_BYTES, IPV6_ENDPOINT_BYTES):
        raise MalformedFrame(f"an endpoint of {len(packed)} bytes")
    address = ipaddress.ip_address(packed[:-2])
    if address.version == 6 and address.ipv4_mapped is not None:
        raise MalformedFrame("an IPv4 address inside an IPv6 one")
    endpoint = Endpoint(str(address), int.from_bytes(packed[-2:], "big"))
    if not is_usable(endpoint):
        raise MalformedFrame("an endpoint that nothing can be sent to")
    return endpoint
