"""The UDP endpoints that our server names as its own, as we can reach them. Pure.

A server does not know its outer addresses: a router before it may forward ports, or a NAT64 may stand between. An
endpoint without a host is at the address that we reached. So is a private address if we reached the server at a global
one: it belongs to the server's own network.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnel.model.endpoint import Endpoint, Scope, scope_of


def place(told: Sequence[Endpoint], reached: Endpoint | None, addresses: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints in the given order, each once; none if it is not known where the server is.

    `reached` is where our link goes, `addresses` are all that the server's name resolved to. A port in the address
    family that we did not dial is at the name's only address of that family. If there is none, and no other endpoint
    was told, it is at the address that we reached.
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
