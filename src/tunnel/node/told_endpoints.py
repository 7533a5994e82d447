"""The UDP endpoints that our server tells of itself, as we can reach them. Pure.

A server does not know its addresses out there: a router before it may forward ports, a translator may stand between
(NAT64). What it tells without a host stands at the one that we reached, and so does a private address that is told by a
server whom we reached at a global one: it is that of its own network.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnel.model.endpoint import Endpoint, Scope, scope_of


def place(told: Sequence[Endpoint], reached: Endpoint | None, addresses: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints in the order of the telling, each once. None of them where nobody knows where the server is.

    `reached` is where our link goes, `addresses` are all that the server's name resolved to. A port of the family that
    we did not dial stands at the name's only address of that family; if there is none, and nothing else was told, at
    the one that we reached.
    """
    if reached is None:
        return ()
    placed = [_placed(endpoint, reached, addresses) for endpoint in told]
    known = tuple(dict.fromkeys(endpoint for endpoint in placed if endpoint is not None))
    return known or tuple(dict.fromkeys(Endpoint(reached.host, endpoint.port) for endpoint in told))


def _placed(told: Endpoint, reached: Endpoint, addresses: Sequence[Endpoint]) -> Endpoint | None:
    is_inner = scope_of(told.host) is not Scope.GLOBAL and scope_of(reached.host) is Scope.GLOBAL
    if not told.is_wildcard and not is_inner:
        return told
    if told.is_ipv6 == reached.is_ipv6:
        return Endpoint(reached.host, told.port)
    hosts = {address.host for address in addresses if address.is_ipv6 == told.is_ipv6}
    return Endpoint(hosts.pop(), told.port) if len(hosts) == 1 else None
