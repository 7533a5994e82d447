"""The path between two public hosts of a lab: a plain veth pair, or one with a delay and a loss of single datagrams.

Both replace the lab's own way over its routed internet for the traffic between these two hosts; the server is still
reached over that. The long wire, here from left to right (the way back is the same):

    direct --- h [bridge] g --- a [delay box] b --- c [bridge] d --- direct
    home             superpackets        |  single datagrams         office: GRO
                                         |  loss, at the ingress of c
    segmentation: b has no offloads

A sender's superpacket (TSO, UDP GSO) crosses the box in one piece. `b` has no offloads, so the kernel cuts it there
as a network card would, and each datagram is lost or kept alone: rules at a plain veth would drop whole
superpackets. `LongWire.counts` says how many frames the rules saw and how many of these were larger than the wire's
MTU: none may be. The receiving end has GRO, as network cards do: veth has it only where its other end has no TSO
(veth_skb_is_eligible_for_gro of Linux), so `h` and `d` have none. What they send to the ends is cut already.

A relay has no better way: what comes over the lab's internet to the hosts and to the server is lost at the same rate.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tunnel.model.errors import DeviceError
from tunnel.verify import netlab
from tunnel.verify.netlab import Lab
from tunnel.verify.netlab.namespaces import run
from tunnel.verify.netlab.sites import Host

INTERFACE = "direct"
MTU = 1500
_DELAY_BOX = Path(netlab.__file__).with_name("delay_box.py")
_SHARES = 1_000_000
"""Loss is set in parts of so many."""
_WINDOW = 64 << 20
"""Bytes that a TCP window may have: more than a long wire holds."""


class Counts(NamedTuple):
    """Frames at the places of the loss on the wire, both directions."""

    seen: int
    large: int
    """Frames larger than the MTU: superpackets."""
    lost: int
    bytes: int
    """Of all that were seen."""


_COUNTERS = ("seen", "large", "lost")


def join_plainly(lab: Lab, one: Host, other: Host) -> None:
    """A veth pair between two hosts."""
    run(
        ["ip", "-batch", "-"],
        f"link add name {INTERFACE} address {_mac(1)} netns {one.namespace}"
        f" type veth peer name {INTERFACE} address {_mac(2)} netns {other.namespace}\n",
    )
    _join(lab, one, other)


class LongWire:
    """A wire with `delay` milliseconds one way between two hosts, whose parts are in the namespace of a third."""

    def __init__(self, lab: Lab, one: Host, other: Host, middle: Host, delay: float) -> None:
        self._lab = lab
        self._middle = middle
        place = middle.namespace
        lines = [
            f"link add name {INTERFACE} address {_mac(1)} netns {one.namespace} type veth peer name h netns {place}",
            f"link add name {INTERFACE} address {_mac(2)} netns {other.namespace} type veth peer name d netns {place}",
            f"link add name g netns {place} type veth peer name a netns {place}",
            f"link add name c netns {place} type veth peer name b netns {place}",
            f"link add name left netns {place} type bridge",
            f"link add name right netns {place} type bridge",
        ]
        run(["ip", "-batch", "-"], "\n".join(lines) + "\n")
        lines = [f"link set dev {end} master left" for end in "hg"] + [
            f"link set dev {end} master right" for end in "cd"
        ]
        lines += [f"link set dev {end} up" for end in ("left", "right", *"hgabcd")]
        run(["ip", "-n", place, "-batch", "-"], "\n".join(lines) + "\n")
        self._places: dict[Host, tuple[str, ...]] = {middle: ("c", "g"), one: ("wan",), other: ("wan",)}
        self._places[lab.server] = ("eth0",)
        for host, ends in ((middle, "abhd"), *((host, ends) for host, ends in self._places.items() if host != middle)):
            for end in ends:
                lab.run(host, ["ethtool", "-K", end, "tso", "off", "gso", "off", "tx-udp-segmentation", "off"])
        _join(lab, one, other)
        for host in (one, other):
            lab.run(host, ["ethtool", "-K", INTERFACE, "gro", "on"])
            for setting in ("tcp_rmem", "tcp_wmem"):
                lab.run(host, ["sysctl", "-qw", f"net.ipv4.{setting}=4096 131072 {_WINDOW}"])
        self._start_box(delay)
        self.lose(0.0)

    def lose(self, share: float) -> None:
        """From now on lose this share (0 to 1) of all packets, each alone, on all paths and both ways."""
        for host, devices in self._places.items():
            run(self._lab.command(host, ["nft", "-f", "-"]), _loss_table(devices, share))

    def counts(self) -> Counts:
        """On the wire, since the last `lose`."""
        text = self._lab.run(self._middle, ["nft", "-j", "list", "counters", "table", "netdev", "loss"])
        parts = [part["counter"] for part in json.loads(text)["nftables"] if "counter" in part]
        packets = {part["name"]: int(part["packets"]) for part in parts}
        return Counts(**packets, bytes=sum(int(part["bytes"]) for part in parts if part["name"] == "seen"))

    def _start_box(self, delay: float) -> None:
        argv = [sys.executable, "-I", "-S", str(_DELAY_BOX), "a", "b", f"{delay:g}"]
        box = self._lab.popen(self._middle, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert box.stdout is not None
        with box.stdout:
            if box.stdout.readline() != b"ready\n":
                raise DeviceError("the delay box did not start")


def _join(lab: Lab, one: Host, other: Host) -> None:
    """Lead the traffic between two hosts over the interfaces of a wire."""
    for host, peer, mac in ((one, other, _mac(2)), (other, one, _mac(1))):
        lines = [
            f"link set dev {INTERFACE} mtu {MTU} up",
            f"neigh add {peer.address} lladdr {mac} dev {INTERFACE} nud permanent",
            f"route add {peer.address}/32 dev {INTERFACE} src {host.address}",
        ]
        run(["ip", "-n", host.namespace, "-batch", "-"], "\n".join(lines) + "\n")
        lab.run(host, ["sysctl", "-qw", "net.ipv4.tcp_no_metrics_save=1"])


def _loss_table(devices: Sequence[str], share: float) -> str:
    """The rules that lose what comes in by these devices."""
    lines = ["table netdev loss { }", "delete table netdev loss", "table netdev loss {"]
    lines += [f"counter {name} {{ }}" for name in _COUNTERS]
    for device in devices:
        lines += [
            f"chain {device} {{",
            f"type filter hook ingress device {device} priority 0;",
            "meta protocol ip counter name seen",
            f"meta protocol ip meta length > {MTU} counter name large",
        ]
        if share > 0.0:
            thrown = f"numgen random mod {_SHARES} < {round(share * _SHARES)}"
            lines.append(f"meta protocol ip {thrown} counter name lost drop")
        lines.append("}")
    return "\n".join([*lines, "}", ""])


def _mac(end: int) -> str:
    return f"02:00:00:01:00:{end:02x}"
