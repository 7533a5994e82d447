"""IPv6 connectivity of this machine: whether it has a global address, reaches a server, and what its firewall lets in.

IPv6 is not translated. The firewall in front of a host (RFC 6092) is judged as the filter of a NAT is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunnel.model.endpoint import Endpoint, Scope, is_usable, scope_of
from tunnel.model.errors import DeviceError
from tunnel.model.nat import Filtering
from tunnel.nat.filtering import StunAddresses, discover_filtering, filtering_of
from tunnel.nat.stun_client import open_stun_client
from tunnel.network.datagrams import Datagrams
from tunnel.network.ports import Entropy

MOST_ASKED = 3
_WAITS = (0.3, 0.7)


@dataclass(frozen=True, slots=True)
class Ipv6Report:
    """What the check found."""

    has_address: bool = False
    """Whether an interface has a global one."""
    is_reached: bool | None = None
    """Whether a server answered over IPv6; None: there was none to ask."""
    filtering: Filtering = Filtering.UNKNOWN


async def check_ipv6(
    datagrams: Datagrams,
    entropy: Entropy,
    addresses: Sequence[str],
    servers: Sequence[Endpoint],
    own_servers: Sequence[Endpoint] = (),
) -> Ipv6Report:
    """Ask a few of the servers that have an IPv6 address, our own first. About 2 s, 20 packets."""
    if not any(":" in address and scope_of(address) is Scope.GLOBAL for address in addresses):
        return Ipv6Report()
    own = [one for one in own_servers if one.is_ipv6]
    asked = [one for one in dict.fromkeys((*own[:1], *servers)) if one.is_ipv6 and is_usable(one)][:MOST_ASKED]
    if not asked:
        return Ipv6Report(has_address=True)
    try:
        async with open_stun_client(datagrams, entropy) as stun_client:
            stun_socket = await stun_client.open_socket(is_ipv6=True)
            for server in asked:
                reply = await stun_socket.request(server).wait(_WAITS)
                if reply is not None and reply.source == server:
                    stun_addresses = _addresses(server, reply.message.other, own)
                    found = await discover_filtering(stun_client, [stun_addresses], is_steady=True)
                    filtering = filtering_of(found.both, found.port)
                    return Ipv6Report(has_address=True, is_reached=True, filtering=filtering)
    except DeviceError:
        return Ipv6Report(has_address=True)
    return Ipv6Report(has_address=True, is_reached=False)


def _addresses(server: Endpoint, other: Endpoint | None, own: Sequence[Endpoint]) -> StunAddresses:
    if other is not None and other.is_ipv6 and other.host != server.host and other.port != server.port:
        return StunAddresses(server, Endpoint(server.host, other.port), other)
    return StunAddresses(
        server, next((one for one in own if one.host == server.host and one.port != server.port), None)
    )
