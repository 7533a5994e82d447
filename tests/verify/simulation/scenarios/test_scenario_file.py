"""Scenario files: what they may say, every fault with line and key, and the way back."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from tests.verify.simulation.pairs import PAIR, do, expect, pair, pair_text

from tunnel.model.errors import SettingsError
from tunnel.model.nat import Filtering, Mapping
from tunnel.model.settings import PUBLIC_STUN
from tunnel.verify.reachability.nat_kinds import NATS
from tunnel.verify.reachability.topology import Hairpinning, Nat, Router
from tunnel.verify.simulation.scenarios.expectation import ExpectNode, ExpectPeer
from tunnel.verify.simulation.scenarios.library import scenario_files
from tunnel.verify.simulation.scenarios.scenario_file import parse_scenario, read_scenario
from tunnel.verify.simulation.scenarios.scenario_text import toml_text, write_scenario

LIBRARY = scenario_files([])
HOST = '[hosts.desk]\naddresses = ["27.0.0.1"]\n'


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: file.stem)
def test_a_scenario_of_the_library_comes_back_as_it_was_written(file: Path) -> None:
    scenario = read_scenario(file)
    assert parse_scenario(write_scenario(scenario), name=scenario.name) == scenario


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: file.stem)
def test_a_scenario_of_the_library_says_what_it_shows_and_expects_something(file: Path) -> None:
    scenario = read_scenario(file)
    assert scenario.about
    assert len(scenario.title) > 20
    assert scenario.expectations


def test_titles_of_the_library_are_all_different() -> None:
    titles = [read_scenario(file).title for file in LIBRARY]
    assert len(set(titles)) == len(titles) >= 48


def test_what_is_left_out_is_filled_in() -> None:
    scenario = parse_scenario(PAIR.format(length=5.0), name="pair")
    assert scenario.topology.routers["home"] == Router(address="26.0.1.1", inner="192.168.1.1")
    assert scenario.topology.hosts["desk"].addresses == ("192.168.1.2",)
    assert scenario.topology.hosts["laptop"].addresses == ("192.168.2.3",)
    assert (scenario.nodes["desk"].start, scenario.nodes["desk"].network) == (0.0, "home")
    assert scenario.server.start == 0.0


def test_a_router_that_others_stand_behind_gives_carrier_addresses() -> None:
    text = '[routers.carrier]\n[routers.home]\nbehind = "carrier"\n[hosts.desk]\nbehind = "home"\n'
    routers = parse_scenario('title = "x"\n' + text, name="x").topology.routers
    assert routers["carrier"].inner == "100.64.1.1"
    assert routers["home"].address == "100.64.1.3"
    assert routers["home"].inner == "192.168.2.1"


@pytest.mark.parametrize("name", NATS)
def test_a_nat_is_called_by_the_name_of_its_class(name: str) -> None:
    text = f'title = "x"\n[routers.home]\nnat = "{name}"\n' + HOST
    assert parse_scenario(text, name="x").topology.routers["home"].nat == NATS[name]


def test_a_nat_may_differ_from_its_class() -> None:
    text = 'title = "x"\n[routers.home.nat]\npreset = "symmetric"\nlifetime = 20\nhairpinning = "external_source"\n'
    nat = parse_scenario(text + HOST, name="x").topology.routers["home"].nat
    assert nat is not None
    assert (nat.mapping, nat.lifetime) == (Mapping.ADDRESS_AND_PORT_DEPENDENT, 20.0)
    assert nat.hairpinning is Hairpinning.EXTERNAL_SOURCE


def test_a_router_without_a_nat_only_filters() -> None:
    text = 'title = "x"\n[routers.wall]\nnat = "none"\nfiltering6 = "address_dependent"\n' + HOST
    wall = parse_scenario(text, name="x").topology.routers["wall"]
    assert wall.nat is None
    assert wall.filtering6 is Filtering.ADDRESS_DEPENDENT


def test_the_public_stun_servers_are_the_ones_that_nodes_know() -> None:
    scenario = parse_scenario('title = "x"\n[stun]\npublic = true\n' + HOST, name="x")
    known = [f"{server.name}:{server.port}" for server in scenario.topology.stun_servers]
    assert known == list(PUBLIC_STUN) == list(scenario.nodes["desk"].settings.stun)


def test_what_is_expected_of_every_node_is_expected_of_each() -> None:
    scenario = pair(expect(by=2.0, node="*", server="registered"), expect(by=3.0, node="*", peer="desk", path="direct"))
    assert scenario.expectations == (
        ExpectNode(by=2.0, node="desk", server="registered"),
        ExpectNode(by=2.0, node="laptop", server="registered"),
        ExpectPeer(by=3.0, node="laptop", peer="desk", path="direct"),
    )


FAULTS = {
    "no title": ("[hosts.desk]\n", "scenario:1: the file: 'title' is missing"),
    "no host": ('title = "x"\n', "scenario:1: hosts: there is no host"),
    "not TOML": ('title = "x\n', "scenario: not TOML: "),
    "an unknown table": ('title = "x"\n[host.desk]\n', "scenario:2: host: unknown key: did you mean 'hosts'?"),
    "an unknown key of a host": (
        'title = "x"\n[hosts.desk]\nbehin = "home"\n',
        "scenario:3: hosts.desk.behin: unknown key: did you mean 'behind'?",
    ),
    "a router that is not there": (
        'title = "x"\n[hosts.desk]\nbehind = "home"\n',
        "scenario:3: hosts.desk.behind: 'home' is no router",
    ),
    "a router behind a later one": (
        'title = "x"\n[routers.home]\nbehind = "carrier"\n[routers.carrier]\n' + HOST,
        "scenario:3: routers.home.behind: 'carrier' is no router that stands above this one",
    ),
    "an unknown NAT": (
        'title = "x"\n[routers.home]\nnat = "simetric"\n' + HOST,
        "scenario:3: routers.home.nat: 'simetric' is none of none, full_cone",
    ),
    "an unknown word of a NAT": (
        'title = "x"\n[routers.home.nat]\nrefresh = "inbond"\n' + HOST,
        "scenario:3: routers.home.nat.refresh: 'inbond' is none of outbound, inbound, both: did you mean 'inbound'?",
    ),
    "a number for a text": ("title = 3\n[hosts.desk]\n", "scenario:1: title: a text is expected, not 3"),
    "a text for a number": (
        'title = "x"\nlength = "long"\n[hosts.desk]\n',
        "scenario:2: length: a number is expected, not 'long'",
    ),
    "a negative time": ('title = "x"\nlength = -1.0\n[hosts.desk]\n', "scenario:2: length: -1.0 is not between 0"),
    "percent for a share": (
        'title = "x"\n[hosts.desk]\n[hosts.desk.line]\nloss_up = 20\n',
        "scenario:4: hosts.desk.line.loss_up: 20.0 is no share: 0 to 1",
    ),
    "a port that cannot be": (
        'title = "x"\n[hosts.desk]\nudp_port = 70000\n',
        "scenario:3: hosts.desk.udp_port: 70000 is not between 0 and 65535",
    ),
    "a version that cannot be told": (
        'title = "x"\n[hosts.desk]\nprotocol_version = 0\n',
        "scenario:3: hosts.desk.protocol_version: 0 is not between 1 and 65535",
    ),
    "no address": (
        'title = "x"\n[hosts.desk]\naddresses = ["desk.example"]\n',
        "scenario:3: hosts.desk.addresses: 'desk.example' is no IP address",
    ),
    "IPv6 for a NAT": (
        'title = "x"\n[routers.home]\naddress = "2001:db8::1"\n' + HOST,
        "scenario:3: routers.home.address: '2001:db8::1' is no IPv4 address",
    ),
    "no endpoint": (
        'title = "x"\n[server]\nstun = ["25.0.0.1"]\n' + HOST,
        "scenario:3: server.stun.0: ",
    ),
    "a start that is no time": (
        'title = "x"\n[hosts.desk]\nstart = "later"\n',
        "scenario:3: hosts.desk.start: seconds or 'never' are expected, not 'later'",
    ),
    "actions that are no list": (
        'title = "x"\n[do]\nat = 1.0\n' + HOST,
        "scenario:2: do: write [[do]]",
    ),
    "an unknown action": (
        pair_text(do(1.0, "explode")),
        "scenario:16: do.0.do: 'explode' is none of start, stop, kill",
    ),
    "an action without a moment": (
        pair_text('[[do]]\ndo = "kill"\nwho = "desk"\n'),
        "scenario:14: do.0: 'at' is missing",
    ),
    "an action after the end": (
        pair_text(do(9.0, "kill", who="desk")),
        "scenario:15: do.0.at: 9 is after the end, which is at 5",
    ),
    "addresses taken off an interface that is not there": (
        pair_text(do(1.0, "flush", host="desk")),
        "scenario:17: do.0.host: 'desk' has no TUN interface: give it one with tun = NAME",
    ),
    "an overlay that rides in no tunnel": (
        pair_text(do(1.0, "overlay", one="desk", other="laptop")),
        "scenario:17: do.0.one: 'desk' has no TUN interface: give it one with tun = NAME",
    ),
    "an overlay with one address": (
        pair_text(do(1.0, "overlay", one="desk", other="laptop", latency=0.1, addresses=["10.99.0.1"])),
        "scenario:20: do.0.addresses: two addresses are expected, one for each host",
    ),
    "the program of a router": (
        pair_text(do(1.0, "kill", who="home")),
        "scenario:17: do.0.who: 'home' is none of desk, laptop, server",
    ),
    "a host that is started again as a router": (
        pair_text(do(1.0, "reboot", router="desk")),
        "scenario:17: do.0.router: 'desk' is none of home, office",
    ),
    "a send that never begins": (
        pair_text(do(3.0, "send", who="desk", to="laptop", until=2.0)),
        "scenario:19: do.0.until: 2 is not after 3: it is a moment, not a length",
    ),
    "a send without a pause": (
        pair_text(do(3.0, "send", who="desk", to="laptop", until=4.0, every=0.0)),
        "scenario:20: do.0.every: 0 is less than 0.001 s",
    ),
    "a datagram that is too long": (
        pair_text(do(3.0, "send", who="desk", to="laptop", until=4.0, size=1280)),
        "scenario:20: do.0.size: 1280 is not between 20 and 1279 bytes",
    ),
    "an unknown way to shut": (
        pair_text(do(3.0, "shut", router="home", udp="closed")),
        "scenario:18: do.0.udp: 'closed' is none of open, blocked, web_only",
    ),
    "a move to a host": (
        pair_text(do(3.0, "roam", host="desk", behind="laptop", addresses=["192.168.1.9"])),
        "scenario:18: do.0.behind: 'laptop' is none of home, office",
    ),
    "a router that is stopped": (
        pair_text(do(1.0, "freeze", who="home", seconds=2.0)),
        "scenario:17: do.0.who: 'home' is none of desk, laptop, server",
    ),
    "a stop that never ends": (
        pair_text(do(1.0, "freeze", who="desk", seconds=1e6)),
        "scenario:18: do.0.seconds: 1000000.0 is not between 0 and 86400",
    ),
    "the disk of a router": (
        pair_text(do(1.0, "fill_disk", host="home")),
        "scenario:17: do.0.host: 'home' is none of desk, laptop, server",
    ),
    "a clock before all time": (
        'title = "x"\n[hosts.desk]\nclock = -3e9\n',
        "scenario:3: hosts.desk.clock: -3000000000.0 is not between -2e9 and 2e9",
    ),
    "a clock of the server that is a date": (
        f'title = "x"\n[server]\nclock = "1970"\n{HOST}',
        "scenario:3: server.clock: a number is expected, not '1970'",
    ),
    "a rate of datagrams that lets none pass": (
        pair_text(do(1.0, "line", of="desk", udp_rate_up=0.0)),
        "scenario:18: do.0.udp_rate_up: 0.0 is not between 1 and 1e9",
    ),
    "a loss that is no share": (
        pair_text(do(1.0, "line", of="desk", udp_loss_down=1.5)),
        "scenario:18: do.0.udp_loss_down: 1.5 is no share: 0 to 1",
    ),
    "two moments": (
        pair_text(expect(by=2.0, at=3.0, node="desk", server="registered")),
        "scenario:14: expect.0: name one moment: by, at, or since and until",
    ),
    "no moment": (
        pair_text(expect(node="desk", server="registered")),
        "scenario:14: expect.0: name one moment: by, at, or since and until",
    ),
    "a moment after the end": (
        pair_text(expect(by=6.0, node="desk", server="registered")),
        "scenario:15: expect.0.by: 6 is after the end, which is at 5",
    ),
    "a burst by interfaces that are not there": (
        pair_text(do(3.0, "send", who="desk", to="laptop", until=4.0, ip=4)),
        "scenario:17: do.0.who: 'desk' has no TUN interface: give it one with tun = NAME",
    ),
    "a superpacket of an application": (
        pair_text(do(3.0, "send", who="desk", to="laptop", until=4.0, burst=2, superpacket=True)),
        "scenario:21: do.0.superpacket: it goes by an interface: name ip",
    ),
    "a stretch of time that is empty": (
        pair_text(expect(since=3.0, until=3.0, node="desk", server="registered")),
        "scenario:16: expect.0.until: 3 is not between 3 and the end, which is at 5",
    ),
    "a moment before it begins": (
        pair_text(expect(by=2.0, after=3.0, node="desk", server="registered")),
        "scenario:16: expect.0.after: 3 is after by = 2",
    ),
    "an unknown state": (
        pair_text(expect(by=2.0, node="desk", peer="laptop", state="connected relaid")),
        "scenario:18: expect.0.state: 'relaid' is none of detecting, announced",
    ),
    "an unknown reason": (
        pair_text(expect(by=2.0, node="desk", peer="laptop", reason="bad_luck")),
        "scenario:18: expect.0.reason: 'bad_luck' is none of udp_blocked, both_hard_nats",
    ),
    "nothing that could fail": (
        pair_text(expect(by=2.0, node="desk", peer="laptop")),
        "scenario:14: expect.0: nothing is expected: name one of state, path, reason, rtt_at_most, path_mtu",
    ),
    "traffic of which nothing is said": (
        pair_text(expect(who="desk", to="laptop")),
        "scenario:14: expect.0: nothing is expected: name one of lost_at_most",
    ),
    "an unknown signal": (
        pair_text(expect(host="desk", signal="anounce", at_most=0)),
        "scenario:16: expect.0.signal: 'anounce' is none of ",
    ),
    "a signal of which nothing is said": (
        pair_text(expect(host="desk", signal="announce")),
        "scenario:14: expect.0: nothing is expected: name at_least or at_most",
    ),
    "a length without an end": ('title = "x"\nlength = inf\n' + HOST, "scenario:2: length: inf is not between"),
    "a length that is no number": ('title = "x"\nlength = nan\n' + HOST, "scenario:2: length: nan is not between"),
    "a length of more than a day": (
        'title = "x"\nlength = 86401\n' + HOST,
        "scenario:2: length: 86401.0 is not between 0.001 and 86400",
    ),
    "a length of many digits": (
        f'title = "x"\nlength = {"9" * 400}\n' + HOST,
        f"scenario:2: length: a number is expected, not {'9' * 77}...",
    ),
    "a port of very many digits": (
        f'title = "x"\n[hosts.desk]\nudp_port = 0x{"f" * 9000}\n',
        "scenario:3: hosts.desk.udp_port: a huge number is not between 0 and 65535",
    ),
    "a number that Python does not read": (f'title = "x"\nlength = {"9" * 5000}\n' + HOST, "scenario: not TOML: "),
    "a start before the beginning": (
        'title = "x"\n[hosts.desk]\nstart = -5\n',
        "scenario:3: hosts.desk.start: -5.0 is not between 0 and 86400",
    ),
    "a start that never comes": ('title = "x"\n[server]\nstart = nan\n' + HOST, "scenario:3: server.start: nan is not"),
    "a sleep that never ends": (
        pair_text(do(3.0, "sleep", host="desk", seconds=float("inf"))),
        "scenario:18: do.0.seconds: inf is not between 0 and 86400",
    ),
    "a sleep back in time": (
        pair_text(do(3.0, "sleep", host="desk", seconds=-5)),
        "scenario:18: do.0.seconds: -5.0 is not between 0 and 86400",
    ),
    "a clock that shows no time": (
        pair_text(do(3.0, "jump_clock", host="desk", seconds=float("nan"))),
        "scenario:18: do.0.seconds: nan is not between -2e9 and 2e9",
    ),
    "a router that is a number": (
        'title = "x"\n[routers.1]\n[hosts.desk]\nbehind = 1\n',
        "scenario:4: hosts.desk.behind: a text is expected, not 1",
    ),
    "a router that is a list": (
        'title = "x"\n[routers."[]"]\n[routers.home]\nbehind = []\n' + HOST,
        "scenario:4: routers.home.behind: a text is expected, not []",
    ),
    "a NAT that is a list": (
        'title = "x"\n[routers.home]\nnat = ["none"]\n' + HOST,
        "scenario:3: routers.home.nat: ['none'] is none of none, full_cone",
    ),
    "a line that carries nothing": (
        'title = "x"\n[hosts.desk]\n[hosts.desk.line]\nrate_up = 0\n',
        "scenario:4: hosts.desk.line.rate_up: 0.0 is not between 1 and 1e9",
    ),
    "a NAT without room": (
        'title = "x"\n[routers.home.nat]\nmax_mappings = 0\n' + HOST,
        "scenario:3: routers.home.nat.max_mappings: 0 is not between 1 and 65535",
    ),
    "a server without a port": (
        'title = "x"\n[server]\nport = 0\n' + HOST,
        "scenario:3: server.port: 0 is not between 1",
    ),
    "an arrival that is no arrival": (
        pair_text(expect(who="desk", to="laptop", arrived_at_least=0)),
        "scenario:17: expect.0.arrived_at_least: 0 is not between 1",
    ),
    "a key of two lines": ('title = "x"\n"two\\nlines" = 1\n' + HOST, "scenario:2: 'two\\nlines': unknown key: one of"),
    "an address of everybody": (
        'title = "x"\n[routers.home]\ninner = "255.255.255.255"\n' + HOST,
        "scenario:3: routers.home.inner: '255.255.255.255' is no address that a machine could have",
    ),
    "an address of nobody": (
        'title = "x"\n[hosts.desk]\naddresses = ["0.0.0.0"]\n',
        "scenario:3: hosts.desk.addresses: '0.0.0.0' is no address that a machine could have",
    ),
    "an address of a group": (
        'title = "x"\n[server]\naddress = "224.0.0.1"\n' + HOST,
        "scenario:3: server.address: '224.0.0.1' is no address that a machine could have",
    ),
    "an address of oneself": (
        'title = "x"\n[stun_servers.s]\naddress = "127.0.0.1"\n' + HOST,
        "scenario:3: stun_servers.s.address: '127.0.0.1' is no address that a machine could have",
    ),
    "an address in capitals": (
        'title = "x"\n[hosts.desk]\naddresses = ["2001:DB8::1"]\n',
        "scenario:3: hosts.desk.addresses: write '2001:DB8::1' as 2001:db8::1",
    ),
    "no address at all": (
        'title = "x"\n[hosts.desk]\naddresses = []\n',
        "scenario:3: hosts.desk.addresses: at least one address is expected",
    ),
    "an address of another LAN": (
        'title = "x"\n[routers.home]\n[hosts.desk]\nbehind = "home"\naddresses = ["192.168.2.2"]\n',
        "scenario:5: hosts.desk.addresses: 192.168.2.2 is not of its router's LAN, which is 192.168.1.0/24",
    ),
    "a LAN that is full": (
        'title = "x"\n[routers.home]\ninner = "192.168.1.254"\n[hosts.desk]\nbehind = "home"\n',
        "scenario:4: hosts.desk: no address is left for it behind 192.168.1.254: name one",
    ),
    "an address that two have": (
        'title = "x"\n[hosts.desk]\n[hosts.laptop]\naddresses = ["27.0.0.1"]\n',
        "scenario:4: hosts.laptop.addresses: the network is impossible: 27.0.0.1 belongs to desk",
    ),
    "an outer address that is taken": (
        pair_text(do(3.0, "renumber", router="home", address="26.0.2.1")),
        "scenario:18: do.0.address: the network is impossible: 26.0.2.1 belongs to office",
    ),
    "a move to an address that is taken": (
        pair_text(do(3.0, "roam", host="desk", behind="office", addresses=["192.168.2.3"])),
        "scenario:19: do.0.addresses: the network is impossible: 192.168.2.3 belongs to laptop",
    ),
    "an address that was taken meanwhile": (
        pair_text(
            do(4.5, "plug", host="desk"),
            do(3.0, "unplug", host="desk"),
            do(4.0, "roam", host="laptop", behind="home", addresses=["192.168.1.2"]),
        ),
        "scenario:14: do.0: the network is impossible: 192.168.1.2 belongs to laptop",
    ),
    "a server without a STUN port": (
        'title = "x"\n[server]\nstun = ["25.0.0.1:0"]\n' + HOST,
        "scenario:3: server.stun.0: 25.0.0.1:0 is no port",
    ),
    "a STUN port twice": (
        'title = "x"\n[server]\nstun = ["25.0.0.1:3478", "25.0.0.1:3478"]\n' + HOST,
        "scenario:3: server.stun.1: 25.0.0.1:3478 stands there twice",
    ),
    "a name that moves the cursor": (
        'title = "x"\n[hosts."\\u001b[2J"]\n',
        "scenario:2: hosts.'\\x1b[2J': a name has 1 to 63",
    ),
    "a name that is too long": (
        f'title = "x"\n[routers.{"n" * 64}]\n' + HOST,
        f"scenario:2: routers.{'n' * 64}: a name has",
    ),
    "a name that is empty": (
        'title = "x"\n[stun_servers.""]\naddress = "24.0.0.1"\n' + HOST,
        "scenario:2: stun_servers.: a",
    ),
    "a network that is too long": (
        f'title = "x"\n[hosts.desk]\nnetwork = "{"n" * 64}"\n',
        "scenario:3: hosts.desk.network: a name has 1 to 63 bytes, all printable",
    ),
    "ports in the wrong order": (
        'title = "x"\n[routers.home.nat]\nfirst_port = 9\nlast_port = 8\n' + HOST,
        "scenario:2: routers.home.nat: no room from first_port 9 to last_port 8",
    ),
    "a NAT that nobody knows": (
        'title = "x"\n[routers.home.nat]\nallocation = "unknown"\n' + HOST,
        "scenario:3: routers.home.nat.allocation: a NAT of a topology is a known one",
    ),
    "a block that is greater than all": (
        'title = "x"\n[routers.home.nat]\npreset = "block"\nlast_port = 1200\n' + HOST,
        "scenario:2: routers.home.nat: no room from first_port 1024 to last_port 1200",
    ),
    "an unknown STUN server to ask": (
        'title = "x"\n[hosts.desk]\nstun = ["stun.example:x"]\n',
        "scenario:3: hosts.desk.stun.0: NAME:PORT is expected, not 'stun.example:x'",
    ),
    "a declared endpoint without a port": (
        'title = "x"\n[hosts.desk]\nexternal = "26.0.0.1:0"\n',
        "scenario:3: hosts.desk.external: 26.0.0.1:0 cannot be reached by anybody",
    ),
    "an endpoint that is very long": (
        f'title = "x"\n[hosts.desk]\nexternal = "{"n" * 999}"\n',
        f"scenario:3: hosts.desk.external: IP:PORT is expected, not '{'n' * 76}...",
    ),
    "the name of two things": (
        'title = "x"\n[routers.desk]\n[hosts.desk]\n',
        "scenario:3: hosts.desk: 'desk' is the name of two things",
    ),
    "a host that is called as the server": (
        'title = "x"\n[hosts.server]\n',
        "scenario:2: hosts.server: 'server' is the",
    ),
    "too many hosts": (
        'title = "x"\n' + "".join(f"[hosts.h{at}]\n" for at in range(255)),
        "scenario:2: hosts: 255 are too many: at most 254 are possible",
    ),
    "a chain that is too deep": (
        'title = "x"\n[routers.r0]\n'
        + "".join(f'[routers.r{at}]\nbehind = "r{at - 1}"\n' for at in range(1, 9))
        + HOST,
        "scenario:18: routers.r8.behind: more than 8 routers behind each other",
    ),
    "a start after the end": (
        'title = "x"\nlength = 5\n[hosts.desk]\nstart = 5\n',
        "scenario:4: hosts.desk.start: 5 is after the end, which is at 5",
    ),
    "a send after the end": (
        pair_text(do(3.0, "send", who="desk", to="laptop", until=6.0)),
        "scenario:19: do.0.until: 6 is after the end, which is at 5",
    ),
    "a peer that is the node": (
        pair_text(expect(by=2.0, node="desk", peer="desk", path="direct")),
        "scenario:17: expect.0.peer: 'desk' is node as well",
    ),
    "a state without a word": (
        pair_text(expect(by=2.0, node="desk", peer="laptop", state=" ")),
        "scenario:18: expect.0.state: a word is expected",
    ),
    "signals before they may be said": (
        pair_text(expect(host="desk", signal="announce", after=3.0, before=2.0, at_most=0)),
        "scenario:17: expect.0.after: 3 is not before 2",
    ),
    "a host that is nearly one": (
        pair_text(do(1.0, "kill", who="dsk")),
        "scenario:17: do.0.who: 'dsk' is none of desk, laptop, server: did you mean 'desk'?",
    ),
    "a node that is not there": (
        pair_text(expect(by=2.0, node="dsk", server="registered")),
        "scenario:16: expect.0.node: 'dsk' is none of desk, laptop",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_its_line_and_key(fault: str) -> None:
    text, told = FAULTS[fault]
    with pytest.raises(SettingsError) as caught:
        parse_scenario(text, name="x")
    assert str(caught.value).startswith(told)


def test_a_fault_after_a_text_of_many_lines_has_the_right_line() -> None:
    text = 'title = """\n[hosts.desk]\nbehind = "gone"\n"""\n' + HOST + "\n[[do]]\nat = 1.0\n"
    with pytest.raises(SettingsError, match=r"^scenario:8: do\.0\.do: None is none of start"):
        parse_scenario(text, name="x")


def test_what_a_terminal_would_heed_is_written_so_that_it_reads_as_itself() -> None:
    odd = "".join(map(chr, range(128))) + "\x85\u2028é"
    assert tomllib.loads(f"odd = {toml_text(odd)}") == {"odd": odd}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"gone\.toml: cannot be read"):
        read_scenario(tmp_path / "gone.toml")


def test_a_text_with_quotes_and_lines_is_written_so_that_it_reads_as_itself() -> None:
    scenario = parse_scenario('title = "x"\nabout = "say \\"hi\\"\\nC:\\\\dir"\n' + HOST, name="x")
    assert scenario.about == 'say "hi"\nC:\\dir'
    assert parse_scenario(write_scenario(scenario), name="x") == scenario
    assert toml_text([True, 1.5, {"a": "b"}]) == '[true, 1.5, { a = "b" }]'


def test_names_that_are_no_bare_keys_are_written_so_that_they_read_as_themselves() -> None:
    scenario = parse_scenario('title = "x"\n[routers."my home"]\n[hosts."é.d"]\nbehind = "my home"\n', name="x")
    assert list(scenario.topology.hosts) == ["é.d"]
    assert parse_scenario(write_scenario(scenario), name="x") == scenario


def test_a_nat_that_is_the_default_is_written_as_an_empty_table() -> None:
    scenario = pair()
    assert scenario.topology.routers["home"].nat == Nat()
    assert "nat = {  }" in write_scenario(scenario)
