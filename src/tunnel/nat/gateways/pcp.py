"""The PCP client (RFC 6887): it maps a port of an IPv4 NAT, or opens a pinhole in an IPv6 firewall.

One nonce serves all mappings of a node, and stays the same across restarts: a gateway changes a mapping only for its
nonce, even for a node that was killed and comes back to its old port.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused
from tunnel.model.port_mapping import PortProtocol
from tunnel.model.routes import Gateway
from tunnel.model.transport import Transport
from tunnel.nat.gateways.exchange import ask_gateway
from tunnel.nat.gateways.lease import PortLease, check_outside
from tunnel.network.datagrams import Datagrams
from tunnel.wire.nat_pmp import PmpRefusal
from tunnel.wire.pcp import PcpCode, PcpMapped, PcpMapRequest, PcpRefusal, pcp_lost_mappings
from tunnel.wire.port_control import PortAnswer


class PcpClient:
    """`nonce`: 12 unguessable bytes. `waits`: seconds between retransmits; after the last one a request is given up."""

    def __init__(self, datagrams: Datagrams, nonce: bytes, waits: Sequence[float]) -> None:
        self._datagrams = datagrams
        self._nonce = nonce
        self._waits = waits

    async def map_port(
        self, gateway: Gateway, internal_port: int, lifetime: float, held: PortLease | None = None
    ) -> PortLease:
        """Map a UDP port, or renew. Raises Unreachable or Refused."""
        wish = Endpoint(_anywhere(gateway), internal_port) if held is None else held.external
        mapped = await self._ask(gateway, internal_port, wish, round(lifetime))
        if mapped.external.port == 0 or mapped.lifetime == 0 or mapped.external.is_ipv6 != gateway.is_ipv6:
            raise Refused("not_mapped", "the gateway granted nothing of use")
        check_outside(mapped.external)
        return PortLease(
            PortProtocol.PCP,
            gateway,
            internal_port,
            mapped.external,
            trio.current_time(),
            float(mapped.lifetime),
            mapped.epoch,
        )

    async def unmap_port(self, lease: PortLease) -> None:
        """Delete the mapping. Raises Unreachable or Refused."""
        await self._ask(lease.gateway, lease.internal_port, Endpoint(_anywhere(lease.gateway), 0), 0)

    async def holds_port(self, lease: PortLease) -> bool:
        """Request the very same mapping: the answer tells the gateway's age and the external endpoint."""
        lifetime = lease.ends - trio.current_time()
        try:
            said = await self.map_port(lease.gateway, lease.internal_port, max(lifetime, 1.0), lease)
        except Refused:
            return False
        assert lease.epoch is not None
        assert said.epoch is not None
        is_new = pcp_lost_mappings(lease.epoch, said.epoch, said.since - lease.since)
        return not is_new and said.external == lease.external

    async def _ask(self, gateway: Gateway, internal_port: int, wish: Endpoint, lifetime: int) -> PcpMapped:
        request = PcpMapRequest(gateway.own, self._nonce, Transport.UDP, internal_port, wish, lifetime)

        def pick(answer: PortAnswer) -> PcpMapped | None:
            match answer:
                case PcpMapped(nonce=nonce, transport=Transport.UDP, internal_port=port):
                    return answer if (nonce, port) == (self._nonce, internal_port) else None
                case PcpRefusal(code=code) if answer.nonce in (None, self._nonce):
                    name = code.name.lower() if isinstance(code, PcpCode) else f"code_{code}"
                    raise Refused(name, "the gateway refuses it")
                case PmpRefusal():
                    raise Refused("not_spoken", "the gateway speaks NAT-PMP alone")
                case _:
                    return None

        return await ask_gateway(self._datagrams, gateway, request, pick, waits=self._waits)


def _anywhere(gateway: Gateway) -> str:
    """The address that suggests none (section 11.1)."""
    return "::" if gateway.is_ipv6 else "0.0.0.0"
