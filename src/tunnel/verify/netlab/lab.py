"""A lab: an internet, a server host with two public addresses, and sites behind real kernel NATs.

All of it lives in network namespaces called `p2pt-ID-NAME`; interfaces exist in those alone, so labs never meet, and
nothing of the machine's own network is touched. Root and Linux; blocking calls (see `open_lab` for Trio).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tunnel.model.errors import DeviceError, SettingsError
from tunnel.verify.netlab import traffic, wiring
from tunnel.verify.netlab.captures import Capture
from tunnel.verify.netlab.gateways import GatewayProgram
from tunnel.verify.netlab.kinds import Gateway, Kind
from tunnel.verify.netlab.ledger import STATE, Entry, sweep
from tunnel.verify.netlab.namespaces import (
    add_namespaces,
    check_privilege,
    command_in,
    run,
    run_scripts,
)
from tunnel.verify.netlab.router_rules import LEARNED_TABLES, keeps_tables
from tunnel.verify.netlab.sites import MAX_SITES, SERVER_ADDRESSES, SERVER_ADDRESSES_V6, Host, Site, SiteSpec

_TERM_PATIENCE = 2.0  # seconds that programs get after SIGTERM when the lab closes
_DELAY_BOX = Path(__file__).with_name("delay_box.py")
_NAT64_BOX = Path(__file__).with_name("nat64_box.py")
NAT64_PREFIX = "64:ff9b::"
NAT64_ADDRESS = "25.98.0.1"


class Lab:
    """One lab. `with Lab() as lab:`, then `lab.add_site(...)`; leaving the block ends its programs and removes all.

    Making one also removes the labs of owners that died. Raises DeviceError, with the remedy, without root or tools.
    """

    def __init__(self, *specs: SiteSpec, state: Path = STATE) -> None:
        check_privilege()
        sweep(state)
        self._entry = Entry(state)
        self.id = self._entry.id
        self._prefix = self._entry.prefix
        self._middle = wiring.Middle(*(self._prefix + name for name in ("internet", "server", "wires")))
        self.server = Host("server", self._middle.server, SERVER_ADDRESSES[0])
        self._has_ipv6 = False
        self.sites: dict[str, Site] = {}
        self.gateways: dict[str, GatewayProgram] = {}
        """The gateway of each site whose router grants ports, by the site's name."""
        self._cuts: set[frozenset[str]] = set()
        self._programs: list[subprocess.Popen[bytes]] = []
        self._boxes: list[subprocess.Popen[bytes]] = []
        self._captures: list[Capture] = []
        try:
            self._build_middle()
            self.add_sites(specs)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Building

    def add_site(
        self,
        name: str,
        kind: Kind = Kind.PORT_PRESERVING,
        *,
        hosts: int = 1,
        delay: float = 0.0,
        lifetime: int | None = None,
        ipv6: bool = False,
        hairpin: bool = False,
    ) -> Site:
        """Add a site; `delay` is one-way, in milliseconds, between it and the internet. Raises SettingsError."""
        return self.add_sites([SiteSpec(name, kind, hosts, delay, lifetime, ipv6, hairpin)])[0]

    def add_sites(self, specs: Iterable[SiteSpec]) -> tuple[Site, ...]:
        """Add several sites at once, which is faster. Raises SettingsError before anything is made."""
        fresh: dict[str, Site] = {}
        for spec in specs:
            spec.check()
            number = len(self.sites) + len(fresh) + 1
            if spec.name in self.sites or spec.name in fresh or number > MAX_SITES:
                raise SettingsError(f"site {spec.name}: the name is taken, or the lab is full ({MAX_SITES})")
            fresh[spec.name] = Site(spec, number, self._prefix)
        self._build(tuple(fresh.values()))
        self.sites |= fresh
        return tuple(fresh.values())

    def open_gateway(self, site: Site, *protocols: Gateway) -> GatewayProgram:
        """Let the hosts of a site ask its router at the internet for ports. Needs the command `miniupnpd`."""

        def start(argv: Sequence[str]) -> subprocess.Popen[bytes]:
            router = Host("router", site.edge, site.wan)
            return self.popen(router, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

        program = self.gateways[site.name] = GatewayProgram(site, protocols, self._entry.folder, start)
        program.start()
        return program

    def open_nat64(self) -> None:
        """Let IPv6 hosts reach the IPv4 internet behind `NAT64_PREFIX`/96, seen at `NAT64_ADDRESS`.

        Needs a site with IPv6. No name server announces the prefix.
        """
        name = "nat64"
        self._start_boxes(self._middle.internet, [[str(_NAT64_BOX), name, NAT64_PREFIX, NAT64_ADDRESS]])
        run(command_in(self._middle.internet, ["sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=0"]))
        routes = f"route add {NAT64_ADDRESS}/32 dev {name}\nroute add {NAT64_PREFIX}/96 dev {name}\n"
        run(["ip", "-n", self._middle.internet, "-batch", "-"], f"link set {name} up mtu 1480\n{routes}")

    def close(self) -> None:
        """End every program of the lab (SIGTERM, then SIGKILL) and remove all that was made. Idempotent."""
        for capture in self._captures:
            capture.close()
        running = [program for program in self._programs if program.poll() is None]
        for program in running:
            program.terminate()
        patience_ends = time.monotonic() + _TERM_PATIENCE
        for program in running:
            with suppress(subprocess.TimeoutExpired):
                program.wait(max(0.0, patience_ends - time.monotonic()))
        for box in self._boxes:  # last, so that programs can take leave over their links
            assert box.stdin is not None
            box.stdin.close()
        self._entry.close()
        for process in (*running, *self._boxes):
            process.wait()
        self._programs.clear()
        self._boxes.clear()
        self._captures.clear()

    # Programs

    def command(self, host: Host, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` on a host, for `trio.run_process` and the like."""
        return command_in(host.namespace, argv)

    def popen(
        self,
        host: Host,
        argv: Sequence[str],
        *,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program on a host; its pid is the program's own. The lab ends it at the latest when it closes."""
        program = subprocess.Popen(
            self.command(host, argv), stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env
        )
        self._programs.append(program)
        return program

    def run(self, host: Host, argv: Sequence[str]) -> str:
        """Run a short command on a host to its end; returns what it printed. Raises DeviceError if it failed."""
        return run(self.command(host, argv))

    # Trouble

    def cut(self, one: Site, other: Site) -> None:
        """Drop silently all UDP between the public addresses of two sites; what goes over the server still works.

        IPv6 too. A cut follows its sites when their addresses change. Raises SettingsError if both are one site.
        """
        if one.name == other.name:
            raise SettingsError(f"site {one.name} cannot be cut from itself: its hosts do not meet at the internet")
        self._cuts.add(frozenset((one.name, other.name)))
        self._apply_cuts()

    def lift(self, one: Site, other: Site) -> None:
        """Undo `cut`."""
        self._cuts.discard(frozenset((one.name, other.name)))
        self._apply_cuts()

    def swallow_ipv6_streams(self, longer_than: int) -> None:
        """Drop silently each IPv6 packet of TCP that is longer than so many bytes, from now on.

        Such a path connects and then carries only small packets, as with a broken tunnel or an unknown MTU.
        """
        rule = f"meta nfproto ipv6 meta l4proto tcp meta length > {longer_than} drop"
        run(command_in(self._middle.internet, ["nft", "add", "rule", "inet", "internet", "forward", *rule.split()]))

    def change_mtu(self, site: Site, mtu: int) -> None:
        """Give the line between a site's router and the internet another MTU; neither end says by ICMP what it drops.

        Below 1280 the line carries no IPv6.
        """
        for namespace, link in ((site.edge, "wan"), (self._middle.internet, site.name)):
            run(command_in(namespace, ["nft", "-f", "-"]), wiring.MTU_SILENCE)
            run(["ip", "-n", namespace, "link", "set", "dev", link, "mtu", str(mtu)])

    def police_udp(self, site: Site, rate: int) -> None:
        """Let a site's provider drop UDP, but no TCP, beyond so many kilobytes a second, to it and from it."""
        for way in ("saddr", "daddr"):
            over = f"limit rate over {rate} kbytes/second burst 30 kbytes drop"
            rule = f"meta l4proto udp ip {way} {site.public_network}.0.0/16 {over}"
            argv = ["nft", "add", "rule", "inet", "internet", "forward", *rule.split()]
            run(command_in(self._middle.internet, argv))

    def change_wan(self, site: Site) -> str:
        """Give a site another public IPv4 address and return it. The old one is gone, and with it every mapping.

        Its IPv6 addresses stay. Needs the command `conntrack`.
        """
        old = site.move()
        run_scripts(wiring.move_scripts(self._middle, site, old))
        self._apply_cuts()
        self.forget_mappings(site)
        return site.wan

    def forget_mappings(self, site: Site) -> None:
        """Empty the NAT tables of a site's routers, as a reboot does. Needs the command `conntrack`."""
        check_privilege(["conntrack"])
        for depth, (namespace, kind) in enumerate(zip(site.routers, site.kind.routers, strict=True)):
            if keeps_tables(kind, hairpin=site.spec.hairpin and depth == 0):
                run(command_in(namespace, ["nft", "-f", "-"]), "".join(f"flush {table}\n" for table in LEARNED_TABLES))
            run(command_in(namespace, ["conntrack", "-F"]))

    # Looking

    def counters(self) -> dict[str, traffic.LinkCount]:
        """What each link at the internet has carried: one for each site, and `server`."""
        text = run(["ip", "-n", self._middle.internet, "-j", "-s", "link", "show"])
        return traffic.link_counts(text, ("server", *self.sites))

    def flows(self) -> dict[traffic.Flow, traffic.Count]:
        """What passed the internet, by source address, destination address and protocol; dropped packets excluded."""
        return traffic.flow_counts(
            run(command_in(self._middle.internet, ["nft", "-j", "list", "table", "inet", "internet"]))
        )

    def capture(self, folder: Path) -> Capture:
        """Record every link at the internet as FOLDER/LINK.pcap, until closed. Needs the command `tcpdump`.

        Recording has begun when this returns: every tcpdump has said that it listens.
        """
        check_privilege(["tcpdump"])
        capture = Capture(self._middle.internet, ("server", *self.sites), folder)
        self._captures.append(capture)
        return capture

    # Details

    def _build_middle(self) -> None:
        self._make_namespaces([self._middle.internet, self._middle.server])
        run(["ip", "-batch", "-"], wiring.server_link(self._middle) + "\n")
        run_scripts(wiring.middle_scripts(self._middle))

    def _build(self, built: Sequence[Site]) -> None:
        delayed = [site for site in built if site.spec.delay]
        namespaces = [name for site in built for name in site.namespaces]
        if delayed and self._middle.wires not in self._entry.namespaces:
            namespaces.append(self._middle.wires)
        self._make_namespaces(namespaces)
        lines = [line for site in built for line in wiring.site_links(self._middle, site)]
        run(["ip", "-batch", "-"], "\n".join(lines) + "\n")
        if not self._has_ipv6 and any(site.spec.has_ipv6 for site in built):
            run_scripts(wiring.middle_scripts_v6(self._middle))
            self._has_ipv6 = True
            self.server = replace(self.server, address_v6=SERVER_ADDRESSES_V6[0])
        scripts = {name: script for site in built for name, script in wiring.site_scripts(site).items()}
        scripts[self._middle.internet] = wiring.internet_script(built)
        if delayed:
            scripts[self._middle.wires] = wiring.wires_script(delayed)
        run_scripts(scripts)
        boxes = [[str(_DELAY_BOX), *wiring.delay_gap(site), str(site.spec.delay)] for site in delayed]
        self._start_boxes(self._middle.wires, boxes)
        for site in built:
            if site.kind.gateway is not None:
                self.open_gateway(site, site.kind.gateway)

    def _make_namespaces(self, names: Sequence[str]) -> None:
        self._entry.record(names)
        add_namespaces(names)

    def _start_boxes(self, namespace: str, programs: Iterable[Sequence[str]]) -> None:
        """Start our programs that forward packets; they run until the lab closes."""
        started = []
        for program in programs:
            command = command_in(namespace, [sys.executable, "-I", "-S", *program])
            box = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            started.append(box)
            self._boxes.append(box)
        for box in started:
            assert box.stdout is not None
            with box.stdout:
                if box.stdout.readline() != b"ready\n":
                    raise DeviceError(f"a box did not start: {box.args!r}")

    def _apply_cuts(self) -> None:
        pairs = [tuple(sorted(cut)) for cut in self._cuts]
        script = wiring.cut_script((self.sites[one], self.sites[other]) for one, other in pairs)
        run_scripts({self._middle.internet: script})
