"""miniupnpd on a site's router: its hosts may ask it for ports, in UPnP IGD, NAT-PMP and PCP.

As on any Linux router, mappings are DNAT rules in chains of miniupnpd, and the router's forwarding lets them pass.
miniupnpd refuses WAN addresses that look private or reserved, the documentation ranges included; the lab's 25.x are
fine.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from threading import Thread
from typing import IO

from tunnel.model.errors import DeviceError
from tunnel.verify.netlab.kinds import Gateway
from tunnel.verify.netlab.namespaces import check_privilege, command_in, run
from tunnel.verify.netlab.sites import Site

Popen = Callable[[Sequence[str]], "subprocess.Popen[bytes]"]
"""Starts a program on the router, its output joined to one pipe."""

_DISCOVERY = "239.255.255.250"  # SSDP: how UPnP services are found


class GatewayProgram:
    """One router's miniupnpd. It serves when `start` returns; `stop` it, `kill` it and `start` it again at will.

    Its leases outlive it, as on a router that keeps them in flash; so do its rules, until it removes them. Do not ask
    for ports below 1024: it refuses those by UPnP, but a NAT-PMP request for one makes miniupnpd 2.3.1 spin for ever.
    """

    def __init__(self, site: Site, protocols: Collection[Gateway], folder: Path, popen: Popen) -> None:
        self.folder = folder
        self._popen = popen
        self._is_prepared = False
        self._namespace = site.edge
        self._settings = folder / f"{site.name}.conf"
        self._pid_file = folder / f"{site.name}.pid"
        leases = folder / f"{site.name}.leases"
        folder.mkdir(mode=0o700, exist_ok=True)
        leases.touch()
        has = {gateway: "yes" if gateway in protocols else "no" for gateway in Gateway}
        self._settings.write_text(
            _SETTINGS.format(
                upnp=has[Gateway.UPNP], pcp=has[Gateway.PCP], leases=leases, network=_inside(site), number=site.number
            )
        )
        self._ready = b"NAT-PMP/PCP traffic" if Gateway.PCP in protocols else b"HTTP listening"
        self._program: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether its process is running."""
        return self._program is not None and self._program.poll() is None

    def start(self) -> None:
        """Start it. Raises DeviceError, with its output, if it does not come up."""
        if not self._is_prepared:
            check_privilege(["miniupnpd"])
            run(command_in(self._namespace, ["nft", "-f", "-"]), _RULES)
            self._is_prepared = True
        self._program = self._popen(["miniupnpd", "-d", "-f", str(self._settings), "-P", str(self._pid_file)])
        wait_said(self._program, self._ready)

    def stop(self) -> None:
        """End it as a service manager does: it removes its mappings, and announces its end by UPnP."""
        assert self._program is not None
        self._program.terminate()
        self._program.wait()

    def kill(self) -> None:
        """Kill it, while the router itself lives on: the rules of its mappings stay."""
        assert self._program is not None
        self._program.kill()
        self._program.wait()


def wait_said(daemon: subprocess.Popen[bytes], ready: bytes) -> None:
    """Wait until its output contains this text. Raises DeviceError, with the output, if it ends before."""
    assert daemon.stdout is not None
    said = b""
    for line in daemon.stdout:
        said += line
        if ready in line:
            Thread(target=_drain, args=(daemon.stdout,), daemon=True).start()
            return
    daemon.stdout.close()
    raise DeviceError(f"{daemon.args!r} did not start:\n{said.decode(errors='replace')}")


def _drain(pipe: IO[bytes]) -> None:
    """Read on: a daemon whose pipe is full stops."""
    with pipe:
        for _ in pipe:
            continue


def _inside(site: Site) -> str:
    return f"{site.lan if len(site.routers) == 1 else site.between}.0/24"


# The router's input drops multicast, and so discovery.
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
enable_upnp={upnp}
enable_natpmp={pcp}
secure_mode=yes
uuid=25000000-0000-0000-0000-{number:012d}
lease_file={leases}
min_lifetime=10
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=upnp_forward
upnp_nat_chain=upnp_prerouting
upnp_nat_postrouting_chain=upnp_postrouting
allow 1024-65535 {network} 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
