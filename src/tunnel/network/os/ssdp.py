"""Finds the URL of the gateway's UPnP description by SSDP (UPnP Device Architecture 1.0 section 1.2).

    M-SEARCH * HTTP/1.1   ---- to the group 239.255.255.250:1900, by the interface of the default route -->
    HTTP/1.1 200 OK       <--- from any host, within a second ---
    LOCATION: http://192.168.1.1:5000/igd.xml

Every host on the LAN receives the search, and any of them may answer. An answer counts only if it comes from the
gateway's own address and its URL leads there. After MAX_NOISE other answers the search is given up.
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.model.routes import Gateway
from tunnel.network.os.sockets import open_bound
from tunnel.network.os.upnp_call import host_of

GROUP = Endpoint("239.255.255.250", 1900)
WAITS = (1.0, 2.0)
"""Seconds after the first search and after the second; a gateway answers within one."""
MAX_NOISE = 64
"""Useless datagrams after which a search is given up."""
MAX_ANSWER = 2048

_TTL = 2
_SEARCHES = tuple(
    f'M-SEARCH * HTTP/1.1\r\nHOST: {GROUP}\r\nMAN: "ssdp:discover"\r\nMX: 1\r\n'
    f"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:{version}\r\n\r\n".encode()
    for version in (2, 1)
)
_LOCATION = re.compile(rb"HTTP/1\.[01] 200\b.*?\nlocation:[ \t]*([!-~]+)[ \t]*\r?\n", re.IGNORECASE | re.DOTALL)


async def find_description(gateway: Gateway, group: Endpoint = GROUP) -> str:
    """The URL of the gateway's description, at the gateway itself. Raises Unreachable."""
    with _open_socket(gateway.own) as searching:
        answers = _AnswerReader(searching, gateway.address)
        for wait in WAITS:
            for search in _SEARCHES:
                with suppress(OSError):  # a full buffer, or no route at this moment
                    await searching.sendto(search, group)
            with trio.move_on_after(wait):
                return await answers.read()
    raise Unreachable("no UPnP gateway answers")


def _open_socket(own: str) -> trio.socket.SocketType:
    """A socket whose multicast leaves by the interface that has this address. Raises Unreachable."""
    try:
        opened = open_bound(socket.SOCK_DGRAM, Endpoint(own, 0))
    except DeviceError as error:
        raise Unreachable(str(error)) from error
    with suppress(OSError):  # the address has just gone: then the search reaches nobody
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _TTL)
    return trio.socket.from_stdlib_socket(opened)


class _AnswerReader:
    """Waits for the answer of one gateway."""

    def __init__(self, searching: trio.socket.SocketType, host: str) -> None:
        self._searching = searching
        self._host = host
        self._noise = 0

    async def read(self) -> str:
        while self._noise < MAX_NOISE:
            with suppress(OSError):  # ICMP about an earlier search
                datagram, source = await self._searching.recvfrom(MAX_ANSWER)
                url = _location_untrusted(datagram)
                if source[0] == self._host and url is not None and host_of(url) == self._host:
                    return url
            self._noise += 1
        raise Unreachable("too many others answer for the UPnP gateway")


def _location_untrusted(datagram: bytes) -> str | None:
    match = _LOCATION.match(datagram)
    return match and match[1].decode("ascii")
