"""`netcheck` for people: what was seen of the network, what it means for a direct path, and what to do about it.

The JSON of the control socket in, rich tables out; all of it counts as untrusted. A value that this version does not
know is shown as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tunnel.cli.formatting import milliseconds, plain, port_mapping_words
from tunnel.cli.layout import ByWidth, FirstFitting, table_of
from tunnel.cli.netcheck_verdict import has_hard_nat, is_open, verdict_of
from tunnel.cli.status_words import interface_words, server_words
from tunnel.model.reasons import REMEDIES, ReasonCode

Json = Mapping[str, Any]

_WIDE = 130
"""Characters that the table of four columns needs to be easy to read."""

_FORWARD = "switch UPnP, NAT-PMP or PCP on in the router, or forward a UDP port and name it with --external"

_UPNP = "install a C compiler and set up again: miniupnpc has no ready build for this Python"
_HIDDEN = "run that server on the host's network: a container's port forward hides who asks"

_FORWARD_OUTER = "forward a UDP port on the outer router too, and name it with --external"


@dataclass(frozen=True, slots=True)
class _Row:
    what: str
    seen: str
    meaning: str = ""
    remedy: str = ""


def netcheck_view(found: Json) -> Group:
    """The whole `netcheck --json` document (docs/status.md), the verdict last."""
    rows = list(_rows(found))
    verdict = Table.grid(padding=(0, 2))
    verdict.add_row(Text("verdict", style="bold"), plain(verdict_of(found)))
    return Group(ByWidth(_WIDE, _table(rows), _list(rows)), Text(""), _servers(found), Text(""), verdict)


def _table(rows: list[_Row]) -> Table:
    table = Table(
        "property", "seen", "for a direct path", "what you can do", box=None, header_style="bold", pad_edge=False
    )
    for row in rows:
        table.add_row(row.what, plain(row.seen), plain(row.meaning), plain(row.remedy))
    return table


def _list(rows: list[_Row]) -> Table:
    """The same for a narrow terminal: what is seen, and below it what that means and what can be done about it."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(row.what, plain(row.seen))
        if row.meaning:
            grid.add_row("", plain(row.meaning))
        if row.remedy:
            grid.add_row("", plain(f"-> {row.remedy}"))
    return grid


def _rows(found: Json) -> Iterator[_Row]:
    yield _seen(found)
    yield from _server(found)
    yield _udp(found)
    if found["reflexive"]:
        yield _mapping(found)
        yield _filtering(found)
        yield _allocation(found)
        if found["mapping"] != "none":
            yield _known("hairpin", found, _HAIRPIN)
        yield _lifetime(found)
    yield _ipv6(found)
    if found.get("nat64"):
        yield _Row("nat64", ", ".join(found["nat64"]), "peers that have only IPv4 are reached through it")
    yield from _port_mappings(found)
    if found.get("external") is not None:
        yield _Row("external", found["external"], "declared with --external: peers are told to send there")
    if (interface := found.get("interface")) is not None and interface["kind"] != "kernel":
        yield _Row("interface", interface_words(interface), "does not matter", interface["reason"] or "")
    if found["captive_portal"] != "unknown":
        yield _known("captive_portal", found, _PORTAL)
    if (second := found["second_opinion"]) is not None:
        verdict = {True: "agrees", False: "DISAGREES", None: "cannot tell"}[second["agrees"]]
        yield _Row(
            "second opinion",
            f"{second.get('term') or second['classic'] or second['note']} (RFC 3489)",
            f"{verdict}; decides nothing",
        )


def _seen(found: Json) -> _Row:
    """A node of an older version does not report `worthless`."""
    hidden = found.get("worthless", ())
    seen = ", ".join(found["reflexive"]) or ("nothing of use" if hidden else "nothing: no server answered")
    if not hidden:
        return _Row("seen as", seen)
    told = ", ".join(dict.fromkeys(f"{one['server']} sees us at {one['mapped']}" for one in hidden))
    return _Row("seen as", seen, f"{told}: an address of its own network, not of ours", _HIDDEN)


def _known(key: str, found: Json, words: Mapping[str, tuple[str, str]]) -> _Row:
    value = found[key]
    return _Row(key.replace("_", " "), _words(value), *words.get(value, ("", "")))


def _server(found: Json) -> Iterator[_Row]:
    """A node of an older version does not report this."""
    if (server := found.get("server")) is not None:
        is_reached = server["state"] == "registered"
        remedy = "" if is_reached else server.get("remedy") or REMEDIES[ReasonCode.SERVER_UNREACHABLE]
        yield _Row("server", server_words(server["state"]), server["reason"] or "", remedy)


def _udp(found: Json) -> _Row:
    """Where the server does not answer by TCP either, silence says nothing about UDP."""
    server = found.get("server")
    if found["udp"] == "blocked" and server is not None and server["state"] != "registered":
        return _Row("udp", "no answer", "nobody answers, the server's TCP port included: is this machine online?")
    return _known("udp", found, _UDP)


def _mapping(found: Json) -> _Row:
    value = found["mapping"]
    meaning, remedy = _MAPPING.get(value, ("", ""))
    if remedy == _FORWARD and is_open(found):
        meaning, remedy = f"{meaning}, but for the open port below", ""
    if value in ("endpoint_independent", "dependent") and found["observers"] < 2:
        meaning += "; seen from one server address alone"
        remedy = remedy or "more addresses say more: --stun, or a second --udp address of the server"
    return _Row("mapping", _MAPPING_SEEN.get(value, _words(value)), meaning, remedy)


def _filtering(found: Json) -> _Row:
    value = found["filtering"]
    meaning, remedy = _FILTERING.get(value, ("", ""))
    if value == "unknown" and found["heard"]["other_port"] == "yes":
        return _Row(
            "filtering",
            "not port dependent",
            "addresses that we sent to get in, from any port; perhaps everybody",
            "a server with two addresses could tell: see docs/howto-server.md",
        )
    return _Row("filtering", _words(value), meaning, remedy)


def _allocation(found: Json) -> _Row:
    value = found["allocation"]
    meaning, remedy = _ALLOCATION.get(value, ("", ""))
    seen = _words(value)
    if value == "sequential" and found["step"]:
        seen += f", {found['step']:+d} each time"
        if found["load"]:
            seen += f", others take {found['load']:g} a second"
    if value == "block" and found["block"]:
        first, last = found["block"]
        seen += f", {first} to {last}"
    is_easy = found["mapping"] in ("none", "endpoint_independent")
    return _Row("allocation", seen, "the mapping is known, so it does not matter" if is_easy else meaning, remedy)


def _lifetime(found: Json) -> _Row:
    seconds, keepalive = found["lifetime"], found["keepalive"]
    seen = "not measured yet" if seconds is None else f"at least {seconds:g} s"
    meaning = f"an idle path is kept by a packet each {keepalive:g} s"
    return _Row(
        "mapping lifetime", seen, meaning, "" if seconds is not None else "ask again some minutes after the start"
    )


def _ipv6(found: Json) -> _Row:
    sight = found["ipv6"]
    if not sight["address"]:
        has_nat = found["mapping"] not in ("none", "unknown")
        remedy = "IPv6 from your provider would spare you the NAT" if has_nat else ""
        return _Row("ipv6", "no global address", "IPv4 alone", remedy)
    if sight["reached"] is None:
        return _Row("ipv6", "an address, nobody to ask", "peers with IPv6 are tried over it")
    if not sight["reached"]:
        return _Row(
            "ipv6", "an address, no answer", "IPv4 alone", "the route or a firewall: does `ping -6` reach anything?"
        )
    firewall = {"unknown": "reached", "endpoint_independent": "reached, no firewall seen"}
    seen = firewall.get(sight["filtering"], "reached, behind a firewall")
    return _Row("ipv6", seen, "direct with every peer that has IPv6 too")


def _port_mappings(found: Json) -> Iterator[_Row]:
    for mapping in found["port_mappings"]:
        what = "port mapping" if mapping["family"] == "ipv4" else "ipv6 pinhole"
        if mapping["external"] is not None:
            seen = port_mapping_words({**mapping, "note": ""})
            meaning = mapping["note"] or "the router has opened a port: every peer reaches it"
            yield _Row(what, seen, meaning, _FORWARD_OUTER if mapping["note"] else "")
        elif mapping["family"] == "ipv4":
            seen = "asking" if mapping["state"] == "probing" else "none"
            remedy = _FORWARD if has_hard_nat(found) else ""
            yield _Row(what, seen, mapping["note"] or "no router has opened a port", remedy)
    if not found["port_mappings"]:
        yield _Row("port mapping", "not asked for", "")
    elif not found.get("upnp_installed", True):
        yield _Row("upnp", "not installed", "ports are opened by PCP and NAT-PMP alone", _UPNP)


def _servers(found: Json) -> RenderableType:
    rows = [
        {
            "STUN server": plain(answer["server"]),
            "sees us as": plain(answer["mapped"]),
            "round trip": plain(milliseconds(answer["rtt_ms"])),
        }
        for answer in found["answers"]
    ]
    health = {one["server"]: one for one in found["servers"]}
    rows += [
        {
            "STUN server": plain(answer["server"]),
            "sees us as": plain(answer["mapped"]),
            "lately": Text("of no use", style="dim"),
        }
        for answer in found.get("worthless", ())
    ]
    for server in (*found["silent"], *found["unresolved"]):
        said, lately = "no answer", _lately(health.get(server), found.get("took_s", 0.0))
        if server in found["unresolved"]:
            said, lately = "name not found", ""
        elif server in found.get("unnamed", ()):
            said, lately = "no answer from DNS", ""
        elif server.startswith("[") and not found["ipv6"]["address"]:
            said, lately = "no IPv6 here", ""
        rows.append({"STUN server": plain(server), "sees us as": Text(said, style="dim"), "lately": plain(lately)})
    columns = ["STUN server", "sees us as", "round trip", *(["lately"] if any("lately" in row for row in rows) else [])]
    return FirstFitting(table_of(rows, columns), Group(*(line for row in rows for line in _lines(row, columns))))


def _lines(row: Mapping[str, Text], columns: Sequence[str]) -> Iterator[Text]:
    """One server in two lines."""
    first, *others = (row.get(column, Text()) for column in columns)
    yield first
    yield Text("    ").append_text(Text("  ").join(part for part in others if part))


def _lately(health: Json | None, took: float) -> str:
    """A server that did not answer before the verdict may have done so since, or before these `took` seconds."""
    if health is None:
        return ""
    ago, silences = health["answered_s_ago"], health["silences"]
    if ago is not None and not silences and ago < took:
        return f"answered after the verdict, in {health['rtt_ms']:.1f} ms"
    told = f"silent {silences} times in a row" if silences > 1 else ""
    return told if ago is None else f"{told}; last heard {ago:.0f} s ago".removeprefix("; ")


def _words(value: object) -> str:
    return str(value).replace("_", " ")


_UDP = {
    "open": ("datagrams pass", ""),
    "limited": ("single datagrams pass, bursts are lost: slow, if at all", "ask who runs the network"),
    "blocked": (
        "none: everything goes over the relay",
        "let UDP out to the internet; until then the relay carries",
    ),
    "unknown": ("not known: no server could be asked", "name a STUN server with --stun, or drop --no-default-stun"),
}
_MAPPING = {
    "none": ("peers can reach this machine at its own address", ""),
    "endpoint_independent": ("easy: one external port for everybody, and peers are told which", ""),
    "address_dependent": ("hard: each peer sees a different external port", _FORWARD),
    "address_and_port_dependent": ("hard: each peer sees a different external port", _FORWARD),
    "dependent": ("hard: each peer sees a different external port", _FORWARD),
    "unknown": ("too few answers, or they contradict each other", "ask again; name more servers with --stun"),
}
_MAPPING_SEEN = {"none": "no NAT", "dependent": "dependent on the destination"}
_FILTERING = {
    "none": ("everybody gets in", ""),
    "endpoint_independent": ("once we have sent anything, everybody gets in", ""),
    "address_dependent": ("addresses that we sent to get in, from any port: port prediction is easier", ""),
    "address_and_port_dependent": (
        "only endpoints that we sent to get in: both sides must send at the same time, and do",
        "",
    ),
    "unknown": ("not known: both sides send at the same time anyway", ""),
}
_ALLOCATION = {
    "preserving": ("the external port is the internal one, the first time", ""),
    "sequential": ("the next port can be predicted", ""),
    "block": ("the port is one of few: a punch can try them all", ""),
    "random": ("the port is one of all: hundreds must be tried", ""),
    "unknown": ("not known", ""),
}
_HAIRPIN = {
    "yes": ("two nodes behind this NAT reach each other by its external address too", ""),
    "no": ("two nodes behind this NAT need a common internal network", ""),
    "unknown": ("not known", ""),
}
_PORTAL = {
    "no": ("the server itself answers", ""),
    "suspected": (
        "somebody else answers in the server's place, and no datagram passes",
        "open a web page: the network may want you to log in first",
    ),
}
