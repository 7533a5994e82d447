"""miniupnpd on a site's router: its hosts may ask it for ports, in UPnP IGD, NAT-PMP and PCP.

Made like on any Linux router: mappings are DNAT in chains of miniupnpd's own, which the router's forwarding lets pass.
It refuses WAN addresses that it takes for private or reserved, the documentation ranges included; the lab's 25.x are
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

    Its leases outlive it, as on a router that keeps them in its flash; so do its rules, until it removes them. One
    mapping belongs to one host of the site. Ask for no port below 1024: it refuses those by UPnP, but a NAT-PMP request
    for one lets miniupnpd 2.3.1 spin for ever.
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
        """Whether it serves, or would if it were not busy."""
        return self._program is not None and self._program.poll() is None

    def start(self) -> None:
        """Raises DeviceError, with what it said, if it does not come up."""
        if not self._is_prepared:
            check_privilege(["miniupnpd"])
            run(command_in(self._namespace, ["nft", "-f", "-"]), _RULES)
            self._is_prepared = True
        self._program = self._popen(["miniupnpd", "-d", "-f", str(self._settings), "-P", str(self._pid_file)])
        wait_said(self._program, self._ready)

    def stop(self) -> None:
        """As when the service is told to end: it takes its mappings back, and says goodbye to UPnP's listeners."""
        assert self._program is not None
        self._program.terminate()
        self._program.wait()

    def kill(self) -> None:
        """As in a power cut, but that the router itself lives on: the mappings' rules stay."""
        assert self._program is not None
        self._program.kill()
        self._program.wait()


def wait_said(daemon: subprocess.Popen[bytes], ready: bytes) -> None:
    """Until a daemon has said this; it may go on talking. Raises DeviceError with what it said if it ends before."""
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
    """A daemon whose pipe is full stands still."""
    with pipe:
        for _ in pipe:
            continue


def _inside(site: Site) -> str:
    return f"{site.lan if len(site.routers) == 1 else site.between}.0/24"


# The router's input drops what is not for its own address, and so discovery.
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
