"""Why there is no link to the server, what a person can do about it, and how often to log it."""

from __future__ import annotations

import logging
import socket

from tunnel.model.errors import ProxyRefused, Refused, Unreachable
from tunnel.nat.captive_portal import speaks_no_tls

log = logging.getLogger(__name__)

REMEDIES = {
    "not_authentic": "this network or node could not prove who it is: ask for a new invite",
    "version": "run the same version of p2ptunnel-trio here and on the server",
    "handle_taken": "another node's id begins like ours: remove node.key from the state folder and start again",
}
"""What waiting does not cure, by the code of the refusal. The server says these after it has proved its identity."""

_IMPOSTURES = {
    "wrong_pin": "something else answers at the server's address, as in a network that wants you to log in first: "
    "open a web page. Or the server has a new certificate: ask for a new invite. The node keeps trying",
    "wrong_certificate": "a network that wants you to log in first shows its own certificate: open a web page. "
    "Otherwise give the server a certificate for its name, or make an invite with its pin. The node keeps trying",
    "wrong_date": "set this machine's clock, if it is wrong. Otherwise the server needs a new certificate, or an "
    "invite with its pin, with which dates do not matter. The node keeps trying",
}
"""By code: what anybody on the path can make us see, so no reason to give up."""

KEY_IN_USE = (
    "another process registers with this node's key: was this state folder copied, or does a second machine use it? "
    "Each node needs its own key: on one of the two remove node.key from the state folder and start again"
)
"""For the refusal `replaced`. It is not final: the other process may end."""
_FULL = {
    "address_full": "ask the server's operator to raise --max-connections-per-address; the node keeps trying",
    "server_full": "ask the server's operator, or wait for a place; the node keeps trying",
    "network_full": "stop a node of this network, or use another network; the node keeps trying",
}
"""What waiting cures only if somebody else leaves."""
_ELSE = "the server refused us for now; the node keeps trying"
_UNREACHABLE = "check that the server runs and that its TCP port can be reached from here; the node keeps trying"
_HUNG_UP = (
    "the server, or something in front of it, may limit how many connections come from your address; "
    "the node keeps trying"
)
_NO_SUCH_NAME = (
    "check the spelling of the name in the invite, and this machine's DNS; or use an invite with an address. "
    "The node keeps trying"
)
_NO_TLS = (
    "what answers there does not speak TLS: a network that wants you to log in first (open a web page), or another "
    "program at that port. The node keeps trying"
)
_PROXY = {
    407: "the proxy requires a user and a password: give them as http://USER:PASSWORD@HOST:PORT (HTTP Basic); the node "
    "keeps trying",
    403: "ask whoever runs the proxy to allow CONNECT to that host and port (most proxies allow 443), or name the host "
    "in NO_PROXY; the node keeps trying",
}
"""By the status of the proxy's answer."""
_PROXY_ELSE = (
    "the node keeps trying; if the server can be reached without the proxy, name the server's host in NO_PROXY"
)
_STRANGE = "check that a p2ptunnel-trio server of our version answers there; the node keeps trying"
MAX_KNOWN = 32


def is_final(failure: Exception) -> bool:
    """Whether waiting cannot cure this."""
    return isinstance(failure, Refused) and failure.code in REMEDIES


def remedy_for(failure: Exception | None) -> str:
    """What a person can do about a failed attempt; None stands for one that broke off or stayed silent."""
    match failure:
        case Refused(code="replaced"):
            return KEY_IN_USE
        case Refused(code=code):
            return REMEDIES.get(code) or _IMPOSTURES.get(code) or _FULL.get(code, _ELSE)
        case Unreachable(__cause__=socket.gaierror() | UnicodeError()):
            return _NO_SUCH_NAME
        case ProxyRefused(status=status):
            return _PROXY.get(status, _PROXY_ELSE)
        case Unreachable() if speaks_no_tls(failure):
            return _NO_TLS
        case Unreachable() if str(failure).endswith("the connection ended"):
            return _HUNG_UP
        case None | Unreachable() | OSError():
            return _UNREACHABLE
        case _:
            return _STRANGE


class Complaints:
    """Warns of a failure when it is new, and the 2nd, 4th, 8th ... time. `settle` when all is well."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, reason: str, failure: Exception | None) -> None:
        """The server link failed once more."""
        if reason not in self._counts and len(self._counts) >= MAX_KNOWN:
            self._counts.clear()
        count = self._counts[reason] = self._counts.get(reason, 0) + 1
        if count & (count - 1) == 0:
            log.warning(
                "no link to the server", extra={"reason": reason, "remedy": remedy_for(failure), "times": count}
            )

    def settle(self) -> None:
        """The server has welcomed us: the next failure is news again."""
        self._counts.clear()
