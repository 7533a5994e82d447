"""A second opinion on our NAT: its class in the terms of RFC 3489, by pystun3. Advisory, for `netcheck` only.

The only file that names pystun3. That library blocks and trusts whatever arrives, so it never sees a real socket. It
gets an object that looks like a blocking one, waits in Trio through greenback, and passes on nothing but well-formed
answers to the latest request.

    pystun3 --sendto/recvfrom--> _BlockingSocket --greenback--> DatagramSocket
"""

from __future__ import annotations

import socket as stdlib_socket
import struct
from dataclasses import dataclass
from functools import partial
from typing import Any

import greenback
import stun
import trio

from tunnel.model.endpoint import Endpoint, is_usable
from tunnel.model.nat import HARD_MAPPINGS, Mapping, NatReport, Udp
from tunnel.network.datagrams import Datagrams, DatagramSocket

TRY_PATIENCE = 0.4
"""Seconds; pystun3 sends each request four times."""
_TERMS = {
    "Open Internet": "open internet",
    "Full Cone": "full cone NAT",
    "Restric NAT": "restricted cone NAT",
    "Restric Port NAT": "port restricted cone NAT",
    "Symmetric NAT": "symmetric NAT",
    "Symmetric UDP Firewall": "symmetric UDP firewall",
    "Blocked": "UDP blocked",
}
"""By pystun3's words."""


@dataclass(frozen=True, slots=True)
class Rfc3489Verdict:
    """What pystun3 finds."""

    classic: str | None
    """`Open Internet`, `Full Cone`, `Restric NAT`, `Restric Port NAT`, `Symmetric NAT`, `Symmetric UDP Firewall`,
    `Blocked`; None if it came to no verdict."""
    note: str = ""
    """Why there is no verdict."""

    @property
    def term(self) -> str | None:
        """The class as RFC 3489, section 5, calls it."""
        return None if self.classic is None else _TERMS.get(self.classic, self.classic)

    def agrees(self, report: NatReport) -> bool | None:
        """Whether this and the survey can both be right; None if one of them does not know.

        RFC 3489 calls a NAT with endpoint-independent filtering a full cone without looking at its mapping.
        """
        mapping = report.mapping
        match self.classic:
            case "Blocked":
                return None if report.udp is Udp.UNKNOWN else report.udp is Udp.BLOCKED
            case None:
                return None
            case _ if mapping is Mapping.UNKNOWN:
                return None
            case "Open Internet" | "Symmetric UDP Firewall":
                return mapping is Mapping.NONE
            case "Symmetric NAT":
                return mapping in HARD_MAPPINGS
            case "Full Cone":
                return mapping is not Mapping.NONE
            case _:
                return mapping is Mapping.ENDPOINT_INDEPENDENT


async def classify_rfc3489(
    datagrams: Datagrams, server: Endpoint, *, source: str = "0.0.0.0", patience: float = 8.0
) -> Rfc3489Verdict:
    """Run the tests of RFC 3489 from a fresh socket, against an IPv4 server that has two addresses, as ours may have.

    `source` is our address toward the server; without it a machine without NAT is taken for a full cone. All tests
    together may take `patience` seconds. Raises DeviceError if no socket can be had; everything else is a note.
    """
    socket = await datagrams.open_socket(Endpoint("0.0.0.0", 0))
    try:
        with trio.move_on_after(patience):
            return await greenback.with_portal_run_sync(partial(_judge, _BlockingSocket(socket), server, source))
        return Rfc3489Verdict(None, f"no verdict within {patience:g} s")
    finally:
        socket.close()


def _judge(blocking: _BlockingSocket, server: Endpoint, source: str) -> Rfc3489Verdict:
    classic, _ = stun.get_nat_type(blocking, source, 0, stun_host=server.host, stun_port=server.port)
    if classic == stun.Blocked and blocking.has_heard:
        return Rfc3489Verdict(None, "the server answers, but not as RFC 3489 would")
    if classic != stun.Blocked and (not blocking.has_second_address or classic == stun.ChangedAddressError):
        return Rfc3489Verdict(None, "the server has no second address that answers")
    return Rfc3489Verdict(classic)


_MAPPED_ADDRESS, _SOURCE_ADDRESS, _CHANGED_ADDRESS = 1, 4, 5
_ADDRESSES = frozenset({_MAPPED_ADDRESS, _SOURCE_ADDRESS, _CHANGED_ADDRESS})


class _BlockingSocket:
    """What pystun3 needs of a socket."""

    def __init__(self, socket: DatagramSocket) -> None:
        self.has_heard = False
        """Whether anything came that was not a valid answer."""
        self.has_second_address = False
        """Whether a valid answer named one."""
        self._socket = socket
        self._transaction = b""

    def sendto(self, datagram: bytes, remote: tuple[Any, Any]) -> None:
        if remote[0] is None or not is_usable(Endpoint(*remote)):
            raise stdlib_socket.gaierror("the server named no second address")
        self._transaction = datagram[4:20]
        self._socket.send_nowait(datagram, Endpoint(*remote))

    def recvfrom(self, _: int) -> tuple[bytes, tuple[str, int]]:
        return greenback.await_(self._receive())

    async def _receive(self) -> tuple[bytes, tuple[str, int]]:
        with trio.move_on_after(TRY_PATIENCE):
            while True:
                for datagram, remote in await self._socket.receive_batch():
                    attributes = _attributes_of(datagram, self._transaction)
                    if _MAPPED_ADDRESS in attributes:
                        self.has_second_address |= _CHANGED_ADDRESS in attributes
                        return datagram, (remote.host, remote.port)
                    self.has_heard = True
        raise TimeoutError


def _attributes_of(datagram: bytes, transaction: bytes) -> frozenset[int]:
    """The types in a binding response to this transaction, if pystun3 can read it: IPv4 only, no padding; else none."""
    if len(datagram) < 20 or datagram[:2] != b"\x01\x01" or datagram[4:20] != transaction:
        return frozenset()
    found: set[int] = set()
    end, offset = 20 + int.from_bytes(datagram[2:4], "big"), 20
    while offset + 4 <= end <= len(datagram):
        kind, length = struct.unpack_from("!HH", datagram, offset)
        if kind in _ADDRESSES and (length != 8 or datagram[offset + 5 : offset + 6] != b"\x01"):
            return frozenset()
        found.add(kind)
        offset += 4 + length
    return frozenset(found) if offset == end == len(datagram) else frozenset()
