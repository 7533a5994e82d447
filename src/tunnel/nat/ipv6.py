"""How this machine stands to the internet over IPv6: has it an address, reaches it anybody, who is let in?

Nothing translates IPv6; what stands before a host is a firewall (RFC 6092), and it is judged as a NAT's filter is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunnel.model.endpoint import Endpoint, Scope, is_usable, scope_of
from tunnel.model.errors import DeviceError
from tunnel.model.nat import Filtering
from tunnel.nat.filtering import StunAddresses, filtering_of, learn_filtering
from tunnel.nat.stun_client import open_stun_client
from tunnel.network.ports import Datagrams, Entropy

MOST_ASKED = 3
_WAITS = (0.3, 0.7)


@dataclass(frozen=True, slots=True)
class Ipv6Sight:
    """What was seen."""

    has_address: bool = False
    """A global one, on an interface."""
    is_reached: bool | None = None
    """Whether a server answered over it; None: there was none to ask."""
    filtering: Filtering = Filtering.UNKNOWN


async def look_at_ipv6(
    datagrams: Datagrams,
    entropy: Entropy,
    addresses: Sequence[str],
    servers: Sequence[Endpoint],
    own_servers: Sequence[Endpoint] = (),
) -> Ipv6Sight:
    """Ask a few servers of those that have an IPv6 address, our own first. About 2 s, 20 packets."""
    if not any(":" in address and scope_of(address) is Scope.GLOBAL for address in addresses):
        return Ipv6Sight()
    own = [one for one in own_servers if one.is_ipv6]
    asked = [one for one in dict.fromkeys((*own[:1], *servers)) if one.is_ipv6 and is_usable(one)][:MOST_ASKED]
    if not asked:
        return Ipv6Sight(has_address=True)
    try:
        async with open_stun_client(datagrams, entropy) as stun_client:
            asker = await stun_client.open_asker(is_ipv6=True)
            for server in asked:
                reply = await asker.question(server).wait(_WAITS)
                if reply is not None and reply.source == server:
                    beside = next((one for one in own if one.host == server.host and one.port != server.port), None)
                    away = reply.message.other
                    if away is not None and away.is_ipv6 and away.host != server.host and away.port != server.port:
                        told = StunAddresses(server, Endpoint(server.host, away.port), away)
                    else:
                        told = StunAddresses(server, beside)
                    found = await learn_filtering(stun_client, [told], is_steady=True)
                    filtering = filtering_of(found.both, found.port)
                    return Ipv6Sight(has_address=True, is_reached=True, filtering=filtering)
    except DeviceError:
        return Ipv6Sight(has_address=True)
    return Ipv6Sight(has_address=True, is_reached=False)
