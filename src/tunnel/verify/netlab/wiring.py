"""How the namespaces of a lab are joined, as lines for `ip`, rules for `nft` and shell scripts. Runs nothing.

    host eth0 --- lan [nat2] wan --- lan [nat1] wan --- (wires) --- SITE [internet] server --- eth0 [server]
    192.168.N.10   .1   100.64.N.2    .1   25.N.0.1  delay box       25.0.0.254            25.0.0.1, 25.0.0.2

`nat2` exists in sites with two routers only; a `public` site has no router, and its host's `wan` is at the internet.
A `firewall` site's hosts have public addresses, 25.N.1.10, in a network that is routed to its router. Links at
the internet have fixed MAC addresses and permanent neighbors, so that no ARP round trip disturbs a measured delay.
IPv6 is off on all links, to keep captures and counters quiet, except at sites that ask for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tunnel.verify.netlab.kinds import Kind
from tunnel.verify.netlab.namespaces import ip_batch, nft_batch
from tunnel.verify.netlab.router_rules import MAPPING_LIFETIME, router_rules
from tunnel.verify.netlab.sites import SERVER_ADDRESSES, SERVER_ADDRESSES_V6, Site

GATEWAY = "25.0.0.254"
"""The internet's own address, the next hop of every site."""

GATEWAY_V6 = "2a25::fe"

MTU_SILENCE = """\
add table inet silence
delete table inet silence
table inet silence {
  chain output {
    type filter hook output priority 0
    icmp type destination-unreachable icmp code frag-needed drop
    icmpv6 type packet-too-big drop
  }
}
"""
"""Rules by which a router does not say that a packet is too long for the next link."""

_GATEWAY_MAC = "02:00:00:00:00:fe"
_SERVER_MAC = "02:00:00:00:00:01"


class Middle(NamedTuple):
    """The namespaces of every lab: one that routes, one for the server, and one for delay boxes if needed."""

    internet: str
    server: str
    wires: str


def server_link(middle: Middle) -> str:
    """The `ip` line that joins the server to the internet."""
    return _link(middle, "server", _SERVER_MAC, "eth0", middle.server)


def middle_scripts(middle: Middle) -> dict[str, str]:
    """Sets up the internet, which routes, counts and cuts, and the server."""
    first, second = SERVER_ADDRESSES
    internet = (
        "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6\n"  # the links of sites come later
        + _without_ipv6()
        + _routing()
        + ip_batch(
            "link set dev lo up",
            f"addr add {GATEWAY}/32 dev lo",
            "link set dev server up",
            *(f"neigh add {address} lladdr {_SERVER_MAC} dev server nud permanent" for address in SERVER_ADDRESSES),
            *(f"route add {address}/32 dev server" for address in SERVER_ADDRESSES),
        )
        + nft_batch(_INTERNET_RULES)
    )
    server = _without_ipv6() + ip_batch(*_at_internet(first, "eth0"), f"addr add {second}/32 dev eth0")
    return {middle.internet: internet, middle.server: server}


def middle_scripts_v6(middle: Middle) -> dict[str, str]:
    """Gives both of them IPv6."""
    internet = _with_ipv6("server") + ip_batch(
        f"addr add {GATEWAY_V6}/128 dev lo nodad",
        *(f"neigh add {address} lladdr {_SERVER_MAC} dev server nud permanent" for address in SERVER_ADDRESSES_V6),
        *(f"route add {address}/128 dev server" for address in SERVER_ADDRESSES_V6),
    )
    first, second = SERVER_ADDRESSES_V6
    server = _with_ipv6("eth0") + ip_batch(*_at_internet_v6(first, "eth0"), f"addr add {second}/128 dev eth0 nodad")
    return {middle.internet: internet, middle.server: server}


def site_links(middle: Middle, site: Site) -> list[str]:
    """The `ip` lines that make all links of a site."""
    if site.spec.delay:
        inner, outer = delay_gap(site)
        lines = [
            f"link add name {site.name} address {_GATEWAY_MAC} netns {middle.internet}"
            f" type veth peer name {outer} netns {middle.wires}",
            f"link add name wan address {site.mac} netns {site.edge} type veth peer name {inner} netns {middle.wires}",
        ]
    else:
        lines = [_link(middle, site.name, site.mac, "wan", site.edge)]
    lines += [
        f"link add name lan netns {outer} type veth peer name wan netns {inner}"
        for outer, inner in zip(site.routers, site.routers[1:], strict=False)
    ]
    if not site.routers:
        return lines
    last = site.routers[-1]
    if len(site.hosts) == 1:
        return [*lines, f"link add name lan netns {last} type veth peer name eth0 netns {site.host.namespace}"]
    lines.append(f"link add name lan netns {last} type bridge")
    for port, host in zip(_bridge_ports(site), site.hosts, strict=True):
        lines.append(f"link add name {port} netns {last} type veth peer name eth0 netns {host.namespace}")
    return lines


def site_scripts(site: Site) -> dict[str, str]:
    """Sets up each namespace of a site, once its links exist."""
    ipv6 = site.spec.has_ipv6
    scripts = {}
    if not site.routers:
        return {
            site.host.namespace: (_with_ipv6("wan") if ipv6 else _without_ipv6())
            + ip_batch(*_at_internet(site.wan, "wan"), *(_at_internet_v6(site.wan_v6, "wan") if ipv6 else ()))
        }
    for depth, namespace in enumerate(site.routers):
        scripts[namespace] = _router_script(site, depth)
    for host in site.hosts:
        lines = ["link set dev lo up", "link set dev eth0 up"]
        if site.kind.has_ipv4:
            lines += [f"addr add {host.address}/24 dev eth0", f"route add default via {site.lan}.1"]
        if ipv6:
            lines += [
                f"addr add {host.address_v6}/64 dev eth0 nodad",
                f"route add default via {site.network_v6}:1::1 dev eth0",
            ]
        scripts[host.namespace] = (_with_ipv6("eth0") if ipv6 else _without_ipv6()) + ip_batch(*lines)
    return scripts


def internet_script(sites: Iterable[Site]) -> str:
    """Opens the internet's ends of the links of new sites."""
    script = ""
    for site in sites:
        lines = [f"link set dev {site.name} up", *_reach(site)]
        if site.spec.has_ipv6:
            script += _with_ipv6(site.name)
            lines += [
                f"neigh add {site.wan_v6} lladdr {site.mac} dev {site.name} nud permanent",
                f"route add {site.wan_v6}/128 dev {site.name}",
                f"route add {site.network_v6}::/32 via {site.wan_v6} dev {site.name}",
            ]
        script += ip_batch(*lines)
    return script


def move_scripts(middle: Middle, site: Site, old: str) -> dict[str, str]:
    """Takes a site from its old public address to the one that it has now."""
    return {
        middle.internet: ip_batch(*_reach(site), f"route del {old}/32", f"neigh del {old} dev {site.name}"),
        site.edge: ip_batch(
            f"addr add {site.wan}/32 dev wan",
            f"route replace default via {GATEWAY} src {site.wan}",
            f"addr del {old}/32 dev wan",
        ),
    }


def cut_script(pairs: Iterable[tuple[Site, Site]]) -> str:
    """Makes the internet drop UDP between these sites, and between no others, in one transaction."""
    both = [(a, b) for pair in pairs for a, b in (pair, pair[::-1])]
    rules = ["flush set inet internet cut", "flush set inet internet cut6"]
    rules += [
        f"add element inet internet cut {{ {a.public_network}.0.0/16 . {b.public_network}.0.0/16 }}" for a, b in both
    ]
    rules += [f"add element inet internet cut6 {{ {a.network_v6}::/32 . {b.network_v6}::/32 }}" for a, b in both]
    return nft_batch("\n".join(rules))


def delay_gap(site: Site) -> tuple[str, str]:
    """The interfaces between which a site's delay box stands, in the namespace for wires."""
    return f"{site.name}-in", f"{site.name}-out"


def wires_script(sites: Iterable[Site]) -> str:
    """Opens both ends of each gap."""
    return _without_ipv6() + ip_batch(*(f"link set dev {end} up" for site in sites for end in delay_gap(site)))


_INTERNET_RULES = """
table inet internet {
  set cut {
    type ipv4_addr . ipv4_addr
    flags interval
  }
  set cut6 {
    type ipv6_addr . ipv6_addr
    flags interval
  }
  set flows {
    type ipv4_addr . ipv4_addr . inet_proto
    size 65535
    flags dynamic
    counter
  }
  set flows6 {
    type ipv6_addr . ipv6_addr . inet_proto
    size 65535
    flags dynamic
    counter
  }
  chain forward {
    type filter hook forward priority filter
    meta l4proto udp ip saddr . ip daddr @cut drop
    meta l4proto udp ip6 saddr . ip6 daddr @cut6 drop
    update @flows { ip saddr . ip daddr . meta l4proto }
    update @flows6 { ip6 saddr . ip6 daddr . meta l4proto }
  }
}
"""


def _router_script(site: Site, depth: int) -> str:
    """One router of a site; depth 0 is the one at the internet."""
    ipv6, network = site.spec.has_ipv6, site.network_v6
    is_last = depth == len(site.routers) - 1
    gateway = f"{site.lan if is_last else site.between}.1" if site.kind.has_ipv4 else None
    lines = ["link set dev lo up", "link set dev lan up"]
    if gateway is not None:
        lines.append(f"addr add {gateway}/24 dev lan")
    if is_last and len(site.hosts) > 1:
        lines += [f"link set dev {port} master lan up" for port in _bridge_ports(site)]
    if ipv6:
        lines.append(f"addr add {network}:{1 if is_last else 64}::1/64 dev lan nodad")
    if depth == 0:
        lines += _at_internet(site.wan, "wan") if site.kind.has_ipv4 else ["link set dev wan up"]
        lines += _at_internet_v6(site.wan_v6, "wan") if ipv6 else ()
    else:
        between = site.between
        lines += [f"addr add {between}.2/24 dev wan", "link set dev wan up", f"route add default via {between}.1"]
        if ipv6:
            lines += [f"addr add {network}:64::2/64 dev wan nodad", f"route add default via {network}:64::1 dev wan"]
    if ipv6 and not is_last:
        lines.append(f"route add {network}:1::/64 via {network}:64::2 dev lan")
    lifetime = site.spec.lifetime
    rules = router_rules(
        site.kind.routers[depth],
        gateway=gateway,
        lifetime=lifetime or MAPPING_LIFETIME,
        hairpin=site.spec.hairpin and depth == 0,
    )
    script = (_with_ipv6("wan", "lan") if ipv6 else _without_ipv6()) + _routing() + ip_batch(*lines) + nft_batch(rules)
    if lifetime is not None:
        for name in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"):
            script += f"echo {lifetime} > /proc/sys/net/netfilter/{name}\n"
    return script


def _link(middle: Middle, name: str, mac: str, far_name: str, far: str) -> str:
    near = f"name {name} address {_GATEWAY_MAC} netns {middle.internet}"
    return f"link add {near} type veth peer name {far_name} address {mac} netns {far}"


def _bridge_ports(site: Site) -> list[str]:
    return [f"port{i}" for i in range(1, len(site.hosts) + 1)]


def _reach(site: Site) -> list[str]:
    """The routes to a site's present IPv4 addresses."""
    if not site.kind.has_ipv4:
        return []
    lines = [
        f"neigh replace {site.wan} lladdr {site.mac} dev {site.name} nud permanent",
        f"route replace {site.wan}/32 dev {site.name}",
    ]
    if site.kind is Kind.FIREWALL:
        lines.append(f"route replace {site.lan}.0/24 via {site.wan} dev {site.name}")
    return lines


def _at_internet(address: str, interface: str) -> list[str]:
    return [
        "link set dev lo up",
        f"addr add {address}/32 dev {interface}",
        f"link set dev {interface} up",
        f"neigh add {GATEWAY} lladdr {_GATEWAY_MAC} dev {interface} nud permanent",
        f"route add {GATEWAY}/32 dev {interface}",
        f"route add default via {GATEWAY} src {address}",
    ]


def _at_internet_v6(address: str, interface: str) -> list[str]:
    return [
        f"addr add {address}/128 dev {interface} nodad",
        f"neigh add {GATEWAY_V6} lladdr {_GATEWAY_MAC} dev {interface} nud permanent",
        f"route add {GATEWAY_V6}/128 dev {interface}",
        f"route add default via {GATEWAY_V6} dev {interface} src {address}",
    ]


def _without_ipv6() -> str:
    """Turn IPv6 off on the links that exist. A tunnel that a program makes later has it."""
    return (
        "for conf in /proc/sys/net/ipv6/conf/*; do\n"
        "  case $conf in */lo|*/all|*/default) ;; *) echo 1 > $conf/disable_ipv6;; esac\ndone\n"
    )


def _with_ipv6(*interfaces: str) -> str:
    """Turn IPv6 on, with addresses that are valid at once: before, a router sends no neighbor solicitations."""
    return "".join(
        f"echo 0 > /proc/sys/net/ipv6/conf/{interface}/{setting}\n"
        for interface in interfaces
        for setting in ("accept_dad", "disable_ipv6")
    )


def _routing() -> str:
    """Forward, and keep bridged frames out of the IP hooks, where a DNATed one would be dropped."""
    return (
        "echo 1 > /proc/sys/net/ipv4/ip_forward\n"
        "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding\n"
        "for family in iptables ip6tables; do\n"
        "  bridged=/proc/sys/net/bridge/bridge-nf-call-$family\n"
        "  if [ -e $bridged ]; then echo 0 > $bridged; fi\n"
        "done\n"
    )
