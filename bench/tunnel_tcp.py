"""A TCP stream between two public hosts: bare kernel, direct path, both relays. Prints Gbit/s and its ratio to the bare
path, and what the UDP relay carries for each bit of the WebSocket's.

Run as root: python bench/tunnel_tcp.py [SECONDS]. Needs iperf3; uses network namespaces of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tunnel.verify.netlab import Kind, Lab, Site, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms

WAYS = (
    ("direct", (), ()),
    ("relay over UDP", ("--relay-only",), ()),
    ("relay over WebSocket", ("--relay-only",), ("--no-udp-relay",)),
)
"""Name, options of the nodes, options of the server."""


def measure(lab: Lab, listener: Site, sender: Site, address: str, seconds: int) -> float:
    """Gbit/s that one stream to `address` carries."""
    server = lab.popen(listener.host, ["iperf3", "-s", "-1", "-B", address], stdout=subprocess.DEVNULL)
    while not lab.run(listener.host, ["ss", "-Hltn", "sport = :5201"]):
        pass
    report = json.loads(lab.run(sender.host, ["iperf3", "-J", "-c", address, "-t", str(seconds)]))
    server.wait()
    bits: float = report["end"]["sum_received"]["bits_per_second"]
    return bits / 1e9


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    sites = (SiteSpec("home", Kind.PUBLIC), SiteSpec("office", Kind.PUBLIC))
    with tempfile.TemporaryDirectory() as folder, Lab(*sites) as lab, LabPrograms(lab, Path(folder)) as lab_programs:
        home, office = lab.sites["home"], lab.sites["office"]
        bare = measure(lab, office, home, office.host.address, seconds)
        print(f"{'path':<22}{'Gbit/s':>8}{'of bare':>10}\n{'bare kernel':<22}{bare:>8.4f}{1:>10.3f}")
        carried: dict[str, float] = {}
        for name, options, server_options in WAYS:
            lab_programs.start_server(*server_options)
            for node, site in (("desk", home), ("laptop", office)):
                lab_programs.start_node(site.host, node, *options)
            lab_programs.wait_ready("desk", "laptop")
            lab_programs.command("desk", "ping", "laptop", "--count", "1")
            lab_programs.wait_state("desk", "laptop", "relayed" if options else "connected")
            measure(lab, office, home, lab_programs.address("laptop"), 3)  # a circuit comes when the relay is in use
            carried[name] = measure(lab, office, home, lab_programs.address("laptop"), seconds)
            path = lab_programs.peer("desk", "laptop")
            assert path is not None
            told = path["path"]["kind"]
            print(f"{name:<22}{carried[name]:>8.4f}{carried[name] / bare:>10.3f}   {told}")
            for node in ("desk", "laptop"):
                lab_programs.nodes[node].process.terminate()
                lab_programs.nodes[node].process.wait()
            lab_programs.kill_server()
        print(f"relay over UDP / WebSocket: {carried['relay over UDP'] / carried['relay over WebSocket']:.2f}")


if __name__ == "__main__":
    main()
