"""Other people's servers, in a lab: coturn, a STUN server, and miniupnpd, which opens ports of a router."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import IO

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError
from tunnel.netlab import SERVER_ADDRESSES, Host, Lab, Site

COTURN_PORTS = (3478, 3479)
COTURN = tuple(Endpoint(address, port) for address in SERVER_ADDRESSES for port in COTURN_PORTS)
"""Where coturn listens; by CHANGE-REQUEST it also answers from the others."""

_DISCOVERY = "239.255.255.250"  # SSDP: how UPnP services are found


def start_coturn(lab: Lab, folder: Path) -> None:
    """STUN by RFC 5780 on both addresses of the server host; it answers when this returns."""
    argv = ["turnserver", "-n", "--stun-only", "--no-tls", "--no-dtls", "--no-tcp", "--no-cli"]
    argv += ["--listening-port", str(COTURN_PORTS[0]), "--alt-listening-port", str(COTURN_PORTS[1])]
    for address in SERVER_ADDRESSES:
        argv += ["--listening-ip", address]
    argv += ["--no-software-attribute", "--log-file", "stdout", "--simple-log"]
    argv += ["--pidfile", str(folder / "coturn.pid"), "--userdb", str(folder / "coturn.db")]
    _start(lab, lab.server, argv, b"SQLite DB connection success")


def start_port_mapping(lab: Lab, site: Site, folder: Path) -> None:
    """Make this site's router one that can be asked for ports: in UPnP, NAT-PMP and PCP.

    One mapping belongs to one host of the site. Ask it for no port below 1024: it refuses UPnP, but a NAT-PMP request
    for one lets miniupnpd 2.3.1 spin for ever.
    """
    router = Host("router", site.edge, site.wan)
    rules, settings, leases = (folder / name for name in ("upnp.nft", "miniupnpd.conf", "leases"))
    rules.write_text(_RULES)
    settings.write_text(_SETTINGS.format(leases=leases, lan=f"192.168.{site.number}.0/24"))
    leases.touch()
    lab.run(router, ["nft", "-f", str(rules)])
    argv = ["miniupnpd", "-d", "-f", str(settings), "-P", str(folder / "miniupnpd.pid")]
    _start(lab, router, argv, b"HTTP listening")


def _start(lab: Lab, host: Host, argv: Sequence[str], ready: bytes) -> None:
    """Start a daemon that says this when it serves, and goes on talking."""
    daemon = lab.popen(host, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert daemon.stdout is not None
    said = b""
    for line in daemon.stdout:
        said += line
        if ready in line:
            Thread(target=_drain, args=(daemon.stdout,), daemon=True).start()
            return
    daemon.stdout.close()
    raise DeviceError(f"{argv[0]} did not start:\n{said.decode(errors='replace')}")


def _drain(pipe: IO[bytes]) -> None:
    """A daemon whose pipe is full stands still."""
    with pipe:
        for _ in pipe:
            continue


# Mappings are DNAT, which the lab's routers let pass. Their input drops what is not for them, and so discovery.
_RULES = f"""
table inet filter {{
  chain upnp_forward {{
  }}
  chain upnp_prerouting {{
  }}
  chain upnp_postrouting {{
  }}
  chain upnp_inwards {{
    type nat hook prerouting priority dstnat
    jump upnp_prerouting
  }}
}}
insert rule inet filter input iifname "lan" ip daddr {_DISCOVERY} accept
"""

_SETTINGS = """
ext_ifname=wan
listening_ip=lan
port=0
enable_upnp=yes
enable_natpmp=yes
secure_mode=yes
uuid=25000000-0000-0000-0000-000000000001
lease_file={leases}
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=upnp_forward
upnp_nat_chain=upnp_prerouting
upnp_nat_postrouting_chain=upnp_postrouting
allow 1024-65535 {lan} 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
