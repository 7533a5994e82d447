"""A router's answers to hosts behind it that request port mappings by NAT-PMP (RFC 6886) or PCP (RFC 6887).

    host behind it --UDP 5351--> router --handle_untrusted--> GatewayServer --> PortLeases --> its static mappings

It answers truthfully, or lies as its `Gateway` says. It sends nothing unasked: no announcement after a restart.
"""

from __future__ import annotations

import random
from typing import assert_never

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.model.transport import Transport
from tunnel.verify.reachability.topology import Gateway, Lie
from tunnel.verify.simulation.internet.leases import PortLease, PortLeases
from tunnel.verify.simulation.internet.router import RouterBox
from tunnel.wire.nat_pmp import (
    PmpAddress,
    PmpAddressRequest,
    PmpAnswer,
    PmpCode,
    PmpMapped,
    PmpMapRequest,
    PmpRefusal,
    PmpRequest,
    PmpUnknown,
)
from tunnel.wire.pcp import (
    PCP_HEADER_BYTES,
    PcpAnnounced,
    PcpAnnounceRequest,
    PcpAnswer,
    PcpCode,
    PcpFaulty,
    PcpMapped,
    PcpMapRequest,
    PcpRefusal,
    PcpRequest,
)
from tunnel.wire.port_control import decode_port_request, encode_port_answer

WRONG_ADDRESS = "25.255.255.254"
"""An address that nobody has. A gateway that lies about its address names this one."""
PRIVATE_ADDRESS = "100.127.255.254"
"""From RFC 6598, as behind a carrier's NAT."""
SHORT_REFUSAL, LONG_REFUSAL = 30, 1800
"""Seconds that PCP clients should wait after a temporary or a permanent refusal (RFC 6887, section 7.4)."""
_SHORT = (PcpCode.NETWORK_FAILURE, PcpCode.NO_RESOURCES, PcpCode.USER_EX_QUOTA, PcpCode.CANNOT_PROVIDE_EXTERNAL)
_GARBAGE_BYTES = 61
_NO_ADDRESSES = ("0.0.0.0", "::")


class GatewayServer:
    """The NAT-PMP and PCP server of one router. It behaves as `gateway` in the router's current spec says."""

    def __init__(self, router: RouterBox, *, chance: random.Random) -> None:
        self.leases = PortLeases(router.statics)
        self._router = router
        self._chance = chance

    @property
    def spec(self) -> Gateway:
        """Which protocols it speaks, and whether it lies."""
        return self._router.spec.gateway

    @property
    def external_address(self) -> str:
        """The external address that it reports."""
        match self.spec.lie:
            case Lie.WRONG_ADDRESS:
                return WRONG_ADDRESS
            case Lie.PRIVATE_ADDRESS:
                return PRIVATE_ADDRESS
            case _:
                return self._router.address

    def grant(
        self, transport: Transport, inner: Endpoint, seconds: float, *, wanted: int, exact: bool = False
    ) -> PortLease | None:
        """Grant a lease as `PortLeases.grant` does, of at most `max_lease`. A NOT_MAPPED gateway maps nothing."""
        seconds = min(seconds, self.spec.max_lease)
        if self.spec.lie is Lie.NOT_MAPPED:
            return PortLease(transport, inner, wanted, trio.current_time() + seconds)
        return self.leases.grant(transport, inner, seconds, wanted=wanted, exact=exact)

    def handle_untrusted(self, payload: bytes, source: Endpoint) -> bytes | None:
        """The answer to a datagram from a host behind the router; None for silence. Never raises."""
        if not (self.spec.nat_pmp or self.spec.pcp) or self.spec.lie in (Lie.SILENT, Lie.HANGS):
            return None
        try:
            request = decode_port_request(payload)
        except MalformedFrame:
            return None
        if self.spec.lie is Lie.GARBAGE:
            return self._chance.randbytes(_GARBAGE_BYTES)
        match request:
            case PmpAddressRequest() | PmpMapRequest() | PmpUnknown() if self.spec.nat_pmp:
                return encode_port_answer(self._answer_pmp(request, source))
            case PcpAnnounceRequest() | PcpMapRequest() | PcpFaulty() if self.spec.pcp:
                code_or_answer = self._answer_pcp(request, source)
                if isinstance(code_or_answer, PcpCode):
                    operation = payload[PCP_HEADER_BYTES:]
                    return encode_port_answer(self._pcp_refusal(code_or_answer, payload[1], operation))
                return encode_port_answer(code_or_answer)
            case _:
                return self._refuse_version(payload[1])

    def _refuse_version(self, opcode: int) -> bytes:
        if self.spec.pcp:
            return encode_port_answer(self._pcp_refusal(PcpCode.UNSUPP_VERSION, opcode))
        return encode_port_answer(PmpRefusal(PmpCode.UNSUPPORTED_VERSION, opcode, self._epoch()))

    def _answer_pmp(self, request: PmpRequest | PmpUnknown, source: Endpoint) -> PmpAnswer:
        match request:
            case PmpAddressRequest():
                return PmpAddress(self._epoch(), self.external_address)
            case PmpMapRequest():
                return self._map_by_pmp(request, source)
            case PmpUnknown():
                return PmpRefusal(PmpCode.UNSUPPORTED_OPCODE, request.opcode, self._epoch())
            case _:
                assert_never(request)

    def _map_by_pmp(self, request: PmpMapRequest, source: Endpoint) -> PmpMapped | PmpRefusal:
        transport, internal_port, epoch = request.transport, request.internal_port, self._epoch()
        inner = Endpoint(source.host, internal_port)
        if self.spec.lie is Lie.REFUSED or (internal_port == 0 and request.lifetime):
            return PmpRefusal(PmpCode.NOT_AUTHORIZED, request.opcode, epoch, internal_port)
        if request.lifetime == 0:
            for lease in self.leases.of_host(transport, source.host):
                if internal_port in (0, lease.inner.port):
                    self.leases.end(lease)
            return PmpMapped(epoch, transport, internal_port, 0, 0)
        wanted = request.external_port or internal_port
        granted = self.grant(transport, inner, request.lifetime, wanted=wanted)
        if granted is None:
            return PmpRefusal(PmpCode.OUT_OF_RESOURCES, request.opcode, epoch, internal_port)
        return PmpMapped(epoch, transport, internal_port, granted.external_port, _lifetime(granted))

    def _answer_pcp(self, request: PcpRequest | PcpFaulty, source: Endpoint) -> PcpAnswer | PcpCode:
        """An answer, or the code of the refusal."""
        match request:
            case PcpFaulty():
                return request.code
            case PcpAnnounceRequest() | PcpMapRequest() if request.client != source.host:
                return PcpCode.ADDRESS_MISMATCH
            case PcpAnnounceRequest():
                return PcpAnnounced(self._epoch())
            case PcpMapRequest():
                return self._map_by_pcp(request)
            case _:
                assert_never(request)

    def _map_by_pcp(self, request: PcpMapRequest) -> PcpMapped | PcpCode:
        """RFC 6887, sections 11.3 and 15.1."""
        inner = Endpoint(request.client, request.internal_port)
        if not self._router.translates(request.client):
            return self._open_pinhole(request, inner)
        held = self.leases.find(request.transport, inner)
        if request.third_party is not None:
            return PcpCode.UNSUPP_OPTION
        if self.spec.lie is Lie.REFUSED or request.internal_port == 0:
            return PcpCode.NOT_AUTHORIZED
        if held is not None and held.nonce not in (b"", request.nonce):
            return PcpCode.NOT_AUTHORIZED
        if request.lifetime == 0:
            if held is not None:
                self.leases.end(held)
            return self._pcp_mapped(request, request.external.port, 0)
        if request.prefer_failure and request.external.host not in (*_NO_ADDRESSES, self.external_address):
            return PcpCode.CANNOT_PROVIDE_EXTERNAL
        wanted, exact = request.external.port, request.prefer_failure and request.external.port != 0
        granted = self.grant(
            request.transport, inner, request.lifetime, wanted=wanted or request.internal_port, exact=exact
        )
        if granted is None:
            return PcpCode.CANNOT_PROVIDE_EXTERNAL if exact else PcpCode.NO_RESOURCES
        self.leases.seal(granted, request.nonce)
        return self._pcp_mapped(request, granted.external_port, _lifetime(granted))

    def _open_pinhole(self, request: PcpMapRequest, inner: Endpoint) -> PcpMapped | PcpCode:
        """No address is translated, so the outer endpoint is the inner one."""
        if self.spec.lie is Lie.REFUSED or request.internal_port == 0 or request.third_party is not None:
            return PcpCode.NOT_AUTHORIZED
        lifetime = round(min(request.lifetime, self.spec.max_lease))
        if self.spec.lie is not Lie.NOT_MAPPED:
            self._router.pinholes.shut(request.transport, inner)
            if lifetime:
                self._router.pinholes.open(request.transport, inner, lifetime)
        return self._pcp_mapped(request, inner.port, lifetime, host=inner.host)

    def _pcp_mapped(
        self, request: PcpMapRequest, external_port: int, lifetime: int, *, host: str | None = None
    ) -> PcpMapped:
        return PcpMapped(
            self._epoch(),
            request.nonce,
            request.transport,
            request.internal_port,
            Endpoint(host or self.external_address, external_port),
            lifetime,
            prefer_failure=request.prefer_failure,
        )

    def _pcp_refusal(self, code: PcpCode, opcode: int, operation: bytes = b"") -> PcpRefusal:
        lifetime = SHORT_REFUSAL if code in _SHORT else LONG_REFUSAL
        return PcpRefusal(code, opcode, self._epoch(), lifetime, operation)

    def _epoch(self) -> int:
        return int(trio.current_time() - self._router.booted_at)


def _lifetime(lease: PortLease) -> int:
    return round(lease.until - trio.current_time())
