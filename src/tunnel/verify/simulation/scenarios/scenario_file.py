"""Scenarios as TOML files (docs/scenarios.md), read with the line and key of each fault. scenario_text.py writes them.

title, about, length
[server]  [routers.NAME]  [hosts.NAME]  [stun]  [stun_servers.NAME]
[[do]]      at = 5.0   do = "kill"   who = "server"
[[expect]]  by = 8.0   node = "desk"  peer = "laptop"  state = "connected"
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunnel.model.endpoint import Endpoint, is_usable, split_host_port
from tunnel.model.errors import SettingsError
from tunnel.model.settings import PUBLIC_STUN, STUN_PORTS, NodeSettings
from tunnel.model.toml_file import parse_toml, read_text, shown
from tunnel.verify.reachability.nat_kinds import NATS
from tunnel.verify.reachability.topology import SERVER, Host, Nat, Router, Server, StunServer, Topology
from tunnel.verify.simulation.scenarios.action import ANY_ACTION, Action
from tunnel.verify.simulation.scenarios.addresses import vet_address, vet_addresses, vet_owners
from tunnel.verify.simulation.scenarios.expectation import (
    Expectation,
    ExpectNode,
    ExpectPeer,
    ExpectSignals,
    ExpectTraffic,
)
from tunnel.verify.simulation.scenarios.groups import COUNT, write_out
from tunnel.verify.simulation.scenarios.ranges import MOST_OF_A_KIND
from tunnel.verify.simulation.scenarios.scenario import DEFAULT_LENGTH, NodePlan, Scenario, ServerPlan
from tunnel.verify.simulation.scenarios.structure import Reader, hints_of, meant
from tunnel.verify.simulation.scenarios.toml_lines import Path as KeyPath
from tunnel.verify.simulation.scenarios.vetting import Vetting, vet_name, vet_nat

DEEPEST_CHAIN = 8
"""The most routers behind each other: packets have no more hops."""
_TOP = ("title", "about", "length", "latency", "server", "routers", "hosts", "stun", "stun_servers", "do", "expect")
NODE_KEYS = (
    "relay_only",
    "udp",
    "survey",
    "stun",
    "external",
    "udp_port",
    "port_mapping",
    "tun",
    "protocol_version",
)
PLAN_KEYS = ("start", "network", "clock", "offloads")
_ACTIONS = {action.word: action for action in ANY_ACTION}


def read_scenario(file: Path) -> Scenario:
    """Read one file. Raises SettingsError naming file, line and key."""
    return parse_scenario(read_text(file), name=file.stem, file=str(file))


def parse_scenario(text: str, *, name: str, file: str = "scenario") -> Scenario:
    """Read a file's content. Raises SettingsError naming file, line and key."""
    document = parse_toml(text, file)
    return _Parsing(Reader(file, text), document, name).scenario()


class _Parsing:
    """Parses one document."""

    def __init__(self, reader: Reader, document: dict[str, Any], name: str) -> None:
        self._reader = reader
        self._document, groups = write_out(document, reader)
        self._name = name
        self._names: dict[str, None] = {SERVER: None}
        for group in groups:
            self._claim(group, ("hosts", group))

    def scenario(self) -> Scenario:
        document, reader = self._document, self._reader
        reader.check_keys(document, _TOP, ())
        if "title" not in document:
            reader.fail((), "'title' is missing")
        server, server_plan = self._server()
        stun_servers = self._stun_servers()
        routers = self._routers()
        hosts, nodes = self._hosts(routers, stun_servers)
        stun_names = [server.name for server in stun_servers]
        topology = Topology(
            hosts=hosts,
            routers=routers,
            server=server,
            stun_servers=stun_servers,
            latency=self._number("latency", 0.02),
        )
        length = self._number("length", DEFAULT_LENGTH)
        self._vetting = Vetting(
            reader,
            hosts=hosts,
            with_tun={name: plan.offloads for name, plan in nodes.items() if plan.settings.tun is not None},
            routers=routers,
            others=(SERVER, *stun_names),
            length=length,
        )
        for name, plan in nodes.items():
            self._check_start(plan.start, length, ("hosts", name, "start"))
        self._check_start(server_plan.start, length, ("server", "start"))
        actions = tuple(self._action(each, ("do", at)) for at, each in enumerate(self._list("do")))
        vet_owners(reader, topology, actions)
        return Scenario(
            name=self._name,
            title=reader.value(str, document["title"], ("title",)),
            about=reader.value(str, document.get("about", ""), ("about",)),
            topology=topology,
            nodes=nodes,
            server=server_plan,
            actions=actions,
            expectations=tuple(self._expectation(each, ("expect", at)) for at, each in enumerate(self._list("expect"))),
            length=length,
        )

    def _server(self) -> tuple[Server, ServerPlan]:
        table = dict(self._table("server"))
        keys = (*hints_of(Server), "introduction_wait", "start", "clock")
        self._reader.check_keys(table, keys, ("server",))
        plan = ServerPlan(
            start=self._start(table.pop("start", 0.0), ("server", "start")),
            clock=self._reader.value(float, table.pop("clock", 0.0), ("server", "clock")),
            introduction_wait=self._reader.value(
                float | None, table.pop("introduction_wait"), ("server", "introduction_wait")
            )
            if "introduction_wait" in table
            else None,
        )
        server = self._reader.read(Server, table, ("server",))
        vet_address(self._reader, server.address, ("server", "address"))
        for at, alias in enumerate(server.aliases):
            vet_address(self._reader, alias, ("server", "aliases", at))
        if "address" in table and "stun" not in table:
            stun = tuple(Endpoint(server.address, port) for port in (3478, 3479))
            server = dataclasses.replace(server, stun=stun)
        for at, endpoint in enumerate(server.stun):
            path = ("server", "stun", at)
            vet_address(self._reader, endpoint.host, path)
            if endpoint.port == 0 or endpoint in server.stun[:at]:
                self._reader.fail(path, f"{endpoint} " + ("stands there twice" if endpoint.port else "is no port"))
        return server, plan

    def _stun_servers(self) -> tuple[StunServer, ...]:
        table, path = self._table("stun"), ("stun",)
        self._reader.check_keys(table, ("public",), path)
        servers = []
        if self._reader.value(bool, table.get("public", False), (*path, "public")):
            for at, known in enumerate(PUBLIC_STUN, start=1):
                name, _, port = known.rpartition(":")
                self._claim(name, path)
                servers.append(StunServer(name=name, address=f"24.0.{at}.1", port=int(port)))
        for name, each in self._table("stun_servers").items():
            given = self._reader.table(each, ("stun_servers", name))
            server = self._reader.read(StunServer, {"name": name, **given}, ("stun_servers", name))
            vet_address(self._reader, server.address, ("stun_servers", name, "address"))
            self._claim(name, ("stun_servers", name))
            servers.append(server)
        return tuple(servers)

    def _routers(self) -> dict[str, Router]:
        tables = self._tables("routers")
        routers: dict[str, Router] = {}
        depths: dict[str, int] = {}
        for at, (name, table) in enumerate(tables.items(), start=1):
            path = ("routers", name)
            self._claim(name, path)
            given = dict(self._reader.table(table, path))
            self._reader.check_keys(given, hints_of(Router), path)
            behind = given.get("behind")
            if behind is not None and self._text(behind, (*path, "behind")) not in routers:
                hint = meant(behind, routers)
                self._reader.fail((*path, "behind"), f"{shown(behind)} is no router that stands above this one{hint}")
            if "address" not in given:
                given["address"] = f"26.0.{at}.1" if behind is None else self._address_in(routers[behind], at, path)
            is_carrier = any(isinstance(each, dict) and each.get("behind") == name for each in tables.values())
            given.setdefault("inner", f"100.64.{at}.1" if is_carrier else f"192.168.{at}.1")
            depths[name] = 1 if behind is None else depths[behind] + 1
            if depths[name] > DEEPEST_CHAIN:
                self._reader.fail((*path, "behind"), f"more than {DEEPEST_CHAIN} routers behind each other")
            nat = self._nat(given.pop("nat", "port_restricted"), (*path, "nat"))
            router = self._reader.read(Router, given, path)
            for key in ("address", "inner"):
                vet_address(self._reader, getattr(router, key), (*path, key), version=4)
            routers[name] = dataclasses.replace(router, nat=nat)
        return routers

    def _tables(self, key: str) -> dict[str, Any]:
        """The hosts or the routers, at most as many as can be given an address."""
        tables = self._table(key)
        if len(tables) > MOST_OF_A_KIND:
            self._reader.fail((key,), f"{len(tables)} are too many: at most {MOST_OF_A_KIND} are possible")
        return tables

    def _nat(self, value: object, path: KeyPath) -> Nat | None:
        """A preset's name, "none", or a table; a table may begin with a preset."""
        if isinstance(value, dict):
            given = dict(value)
            preset = self._nat(given.pop("preset", "port_restricted"), (*path, "preset"))
            changed = self._reader.read(Nat, given, path)
            if preset is None:
                return None
            nat = dataclasses.replace(preset, **{key: getattr(changed, key) for key in given})
            vet_nat(self._reader, nat, path)
            return nat
        if value == "none":
            return None
        if not isinstance(value, str) or value not in NATS:
            self._reader.fail(
                path, f"{shown(value)} is none of none, {', '.join(NATS)}, and no table{meant(value, NATS)}"
            )
        return NATS[value]

    def _hosts(
        self, routers: Mapping[str, Router], stun: tuple[StunServer, ...]
    ) -> tuple[dict[str, Host], dict[str, NodePlan]]:
        hosts: dict[str, Host] = {}
        nodes: dict[str, NodePlan] = {}
        for at, (name, table) in enumerate(self._tables("hosts").items(), start=1):
            path = ("hosts", name)
            self._claim(name, path)
            given = dict(self._reader.table(table, path))
            self._reader.check_keys(given, (*hints_of(Host), *NODE_KEYS, *PLAN_KEYS, COUNT), path)
            behind = given.get("behind")
            if behind is not None and self._text(behind, (*path, "behind")) not in routers:
                self._reader.fail((*path, "behind"), f"{shown(behind)} is no router{meant(behind, routers)}")
            if "addresses" not in given:
                given["addresses"] = [f"27.0.0.{at}" if behind is None else self._address_in(routers[behind], at, path)]
            start = self._start(given.pop("start", 0.0), (*path, "start"))
            network = self._reader.value(str, given.pop("network", "home"), (*path, "network"))
            vet_name(self._reader, network, (*path, "network"))
            clock = self._reader.value(float, given.pop("clock", 0.0), (*path, "clock"))
            offloads = self._reader.value(bool, given.pop("offloads", False), (*path, "offloads"))
            settings = self._settings(name, {key: given.pop(key) for key in NODE_KEYS if key in given}, stun, path)
            nodes[name] = NodePlan(settings=settings, start=start, network=network, clock=clock, offloads=offloads)
            hosts[name] = self._reader.read(Host, given, path)
            router = None if behind is None else routers[behind]
            vet_addresses(self._reader, hosts[name].addresses, router, (*path, "addresses"))
        if not hosts:
            self._reader.fail(("hosts",), "there is no host: write [hosts.NAME]")
        return hosts, nodes

    def _settings(self, name: str, given: dict[str, Any], stun: tuple[StunServer, ...], path: KeyPath) -> NodeSettings:
        hints = hints_of(NodeSettings)
        chosen = {key: self._reader.value(hints[key], value, (*path, key)) for key, value in given.items()}
        for at, server in enumerate(chosen.get("stun", ())):
            try:
                split_host_port(server, STUN_PORTS[0])
            except SettingsError:
                self._reader.fail((*path, "stun", at), f"NAME:PORT is expected, not {shown(server)}")
        if "external" in chosen and not is_usable(chosen["external"]):
            self._reader.fail((*path, "external"), f"{chosen['external']} cannot be reached by anybody")
        if chosen.get("udp", True):
            chosen.setdefault("stun", tuple(f"{server.name}:{server.port}" for server in stun))
        return NodeSettings(name=name, default_stun=False, **chosen)

    def _start(self, value: object, path: KeyPath) -> float | None:
        if value == "never":
            return None
        if not isinstance(value, int | float) or isinstance(value, bool):
            self._reader.fail(path, f"seconds or 'never' are expected, not {shown(value)}")
        return float(self._reader.value(float, value, path))

    def _action(self, value: object, path: KeyPath) -> Action:
        table = dict(self._reader.table(value, path))
        word = table.pop("do", None)
        if not isinstance(word, str) or word not in _ACTIONS:
            self._reader.fail((*path, "do"), f"{shown(word)} is none of {', '.join(_ACTIONS)}{meant(word, _ACTIONS)}")
        action: Action = self._reader.read(_ACTIONS[word], table, path)
        self._vetting.vet_action(action, path)
        return action

    def _expectation(self, value: object, path: KeyPath) -> Expectation:
        """An expectation; its keys tell which kind it is."""
        table = self._reader.table(value, path)
        expectation: Expectation
        if "signal" in table:
            expectation = self._reader.read(ExpectSignals, table, path)
        elif "who" in table:
            expectation = self._reader.read(ExpectTraffic, table, path)
        else:
            kind: type[ExpectPeer | ExpectNode] = ExpectPeer if "peer" in table else ExpectNode
            expectation = self._reader.read(kind, table, path)
        self._vetting.vet_expectation(expectation, path)
        return expectation

    def _table(self, key: str) -> dict[str, Any]:
        return self._reader.table(self._document.get(key, {}), (key,))

    def _list(self, key: str) -> list[Any]:
        value = self._document.get(key, [])
        if not isinstance(value, list):
            self._reader.fail((key,), f"write [[{key}]]")
        return value

    def _claim(self, name: str, path: KeyPath) -> None:
        """Check that a name is valid and not taken."""
        vet_name(self._reader, name, path)
        if name in self._names:
            self._reader.fail(path, f"{shown(name)} is the name of two things")
        self._names[name] = None

    def _check_start(self, start: float | None, length: float, path: KeyPath) -> None:
        if start is not None and start >= length:
            self._reader.fail(path, f"{start:g} is after the end, which is at {length:g}")

    def _address_in(self, router: Router, at: int, path: KeyPath) -> str:
        """An address in the /24 that a router's inner address lies in."""
        lan, _, last = router.inner.rpartition(".")
        if int(last) + at > 254:
            self._reader.fail(path, f"no address is left for it behind {router.inner}: name one")
        return f"{lan}.{int(last) + at}"

    def _text(self, value: object, path: KeyPath) -> str:
        return str(self._reader.value(str, value, path))

    def _number(self, key: str, default: float) -> float:
        return float(self._reader.value(float, self._document.get(key, default), (key,)))
