"""Another project's server, in a lab: coturn, for STUN. The lab itself has miniupnpd, which opens ports of a router."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tunnel.model.endpoint import Endpoint
from tunnel.verify.netlab import SERVER_ADDRESSES, Lab
from tunnel.verify.netlab.gateways import wait_said

COTURN_PORTS = (3478, 3479)
COTURN = tuple(Endpoint(address, port) for address in SERVER_ADDRESSES for port in COTURN_PORTS)
"""Where coturn listens; by CHANGE-REQUEST it also answers from the others."""


def start_coturn(lab: Lab, folder: Path) -> None:
    """STUN by RFC 5780 on both addresses of the server host; it answers when this returns."""
    argv = ["turnserver", "-n", "--stun-only", "--no-tls", "--no-dtls", "--no-tcp", "--no-cli"]
    argv += ["--listening-port", str(COTURN_PORTS[0]), "--alt-listening-port", str(COTURN_PORTS[1])]
    for address in SERVER_ADDRESSES:
        argv += ["--listening-ip", address]
    argv += ["--no-software-attribute", "--log-file", "stdout", "--simple-log"]
    argv += ["--pidfile", str(folder / "coturn.pid"), "--userdb", str(folder / "coturn.db")]
    daemon = lab.popen(lab.server, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_said(daemon, b"SQLite DB connection success")
