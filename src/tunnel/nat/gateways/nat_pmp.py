"""The NAT-PMP client (RFC 6886): it requests the external address and the mapping. IPv4 only."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused
from tunnel.model.port_mapping import PortProtocol
from tunnel.model.routes import Gateway
from tunnel.model.transport import Transport
from tunnel.nat.gateways.exchange import ask_gateway
from tunnel.nat.gateways.lease import LOWEST_PORT, PortLease, check_outside
from tunnel.network.datagrams import Datagrams
from tunnel.wire.nat_pmp import (
    PmpAddress,
    PmpAddressRequest,
    PmpCode,
    PmpMapped,
    PmpMapRequest,
    PmpRefusal,
    pmp_lost_mappings,
)
from tunnel.wire.pcp import PcpRefusal
from tunnel.wire.port_control import PortAnswer


class NatPmpClient:
    """`waits`: seconds between retransmits of a request; after the last one it is given up."""

    def __init__(self, datagrams: Datagrams, waits: Sequence[float]) -> None:
        self._datagrams = datagrams
        self._waits = waits

    async def ask_address(self, gateway: Gateway) -> PmpAddress:
        """The external address; an answer shows that the gateway speaks NAT-PMP. The request changes nothing there.

        Raises Unreachable or Refused: a gateway that is offline itself names 0.0.0.0.
        """
        answer = await ask_gateway(self._datagrams, gateway, PmpAddressRequest(), _pick_address, waits=self._waits)
        check_outside(Endpoint(answer.address, LOWEST_PORT))
        return answer

    async def map_port(
        self, gateway: Gateway, internal_port: int, lifetime: float, held: PortLease | None = None
    ) -> PortLease:
        """Map a UDP port, or renew. Raises Unreachable or Refused."""
        wish = internal_port if held is None else held.external.port
        request = PmpMapRequest(Transport.UDP, internal_port, wish, round(lifetime))
        outside = await self.ask_address(gateway)
        mapped = await self._ask_mapping(gateway, request)
        if mapped.external_port == 0 or mapped.lifetime == 0:
            raise Refused("not_mapped", "the gateway granted nothing")
        return PortLease(
            PortProtocol.NAT_PMP,
            gateway,
            internal_port,
            Endpoint(outside.address, mapped.external_port),
            trio.current_time(),
            float(mapped.lifetime),
            mapped.epoch,
        )

    async def unmap_port(self, lease: PortLease) -> None:
        """Delete the mapping. Raises Unreachable or Refused."""
        await self._ask_mapping(lease.gateway, PmpMapRequest(Transport.UDP, lease.internal_port, 0, 0))

    async def holds_port(self, lease: PortLease) -> bool:
        """Check the gateway's age and external address, and request the very same mapping. Raises Unreachable.

        Epoch and address alone would not show that a lease ended while this machine was suspended.
        """
        now = trio.current_time()
        lifetime = max(1, round(lease.ends - now))
        request = PmpMapRequest(Transport.UDP, lease.internal_port, lease.external.port, lifetime)
        try:
            said = await self.ask_address(lease.gateway)
            mapped = await self._ask_mapping(lease.gateway, request)
        except Refused:
            return False
        is_new = lease.epoch is not None and pmp_lost_mappings(lease.epoch, said.epoch, now - lease.since)
        return not is_new and Endpoint(said.address, mapped.external_port) == lease.external

    async def _ask_mapping(self, gateway: Gateway, request: PmpMapRequest) -> PmpMapped:
        def pick(answer: PortAnswer) -> PmpMapped | None:
            match answer:
                case PmpMapped(transport=Transport.UDP, internal_port=port) if port == request.internal_port:
                    return answer
                case PmpRefusal(opcode=opcode) if opcode == request.opcode:
                    raise _refusal(answer)
                case PcpRefusal():
                    raise Refused("not_spoken", "the gateway speaks PCP alone")
                case _:
                    return None

        return await ask_gateway(self._datagrams, gateway, request, pick, waits=self._waits)


def _pick_address(answer: PortAnswer) -> PmpAddress | None:
    match answer:
        case PmpAddress():
            return answer
        case PmpRefusal(opcode=0):
            raise _refusal(answer)
        case PcpRefusal():
            raise Refused("not_spoken", "the gateway speaks PCP alone")
        case _:
            return None


def _refusal(answer: PmpRefusal) -> Refused:
    name = answer.code.name.lower() if isinstance(answer.code, PmpCode) else f"code_{answer.code}"
    return Refused(name, "the gateway refuses it")
