"""A home with two hosts behind one router, and two hosts on the internet to talk with."""

from __future__ import annotations

from dataclasses import replace

from tunnel.model.endpoint import Endpoint
from tunnel.verify.reachability.topology import Host, Nat, Router, Topology

OUTER = "26.0.0.1"
PUBLIC, OTHER = Endpoint("25.0.1.1", 5000), Endpoint("25.0.1.2", 5000)
HOME = Router(address=OUTER, inner="192.168.1.1")


def one_home(router: Router = HOME, *more: tuple[str, Host]) -> Topology:
    """`desk` and `laptop` behind `home`; `public` and `other` on the internet."""
    hosts = {
        "desk": Host(addresses=("192.168.1.2",), behind="home"),
        "laptop": Host(addresses=("192.168.1.3",), behind="home"),
        "public": Host(addresses=(PUBLIC.host,)),
        "other": Host(addresses=(OTHER.host,)),
    }
    return Topology(hosts={**hosts, **dict(more)}, routers={"home": router})


def with_nat(**changes: object) -> Router:
    return replace(HOME, nat=replace(Nat(), **changes))  # type: ignore[arg-type]
