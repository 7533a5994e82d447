"""Real kernel NATs in network namespaces: for tests, the bench and `demo --netns`. Root and Linux only.

with Lab() as lab:
    home = lab.add_site("home", Kind.SYMMETRIC, delay=20)
    office = lab.add_site("office", Kind.PORT_PRESERVING, hosts=2)
    server = lab.popen(lab.server, ["p2ptunnel-trio", "server", "--listen", "25.0.0.1:443"])
    node = lab.popen(home.host, ["p2ptunnel-trio", "up"])
    lab.cut(home, office)
"""

from tunnel.verify.netlab.captures import Capture
from tunnel.verify.netlab.gateways import GatewayProgram
from tunnel.verify.netlab.kinds import Gateway, Kind
from tunnel.verify.netlab.lab import Lab
from tunnel.verify.netlab.ledger import STATE, sweep
from tunnel.verify.netlab.router_rules import OPEN_TCP_PORTS
from tunnel.verify.netlab.sites import SERVER_ADDRESSES, SERVER_ADDRESSES_V6, Host, Site, SiteSpec
from tunnel.verify.netlab.traffic import Count, Flow, LinkCount
from tunnel.verify.netlab.trio_lab import open_lab
from tunnel.verify.netlab.wiring import GATEWAY

__all__ = [
    "GATEWAY",
    "OPEN_TCP_PORTS",
    "SERVER_ADDRESSES",
    "SERVER_ADDRESSES_V6",
    "STATE",
    "Capture",
    "Count",
    "Flow",
    "Gateway",
    "GatewayProgram",
    "Host",
    "Kind",
    "Lab",
    "LinkCount",
    "Site",
    "SiteSpec",
    "open_lab",
    "sweep",
]
