"""What `netcheck --json` says of each kind of site is what the lab has built there: the kernels' NATs, not ours."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.journeys.conftest import OpenLabPrograms
from tests.journeys.foreign_servers import COTURN, start_coturn

from tunnel.model.nat import HARD_MAPPINGS, Filtering, Udp
from tunnel.verify.netlab import Kind, Lab, SiteSpec
from tunnel.verify.netlab.programs import COMMAND, LabPrograms

pytestmark = pytest.mark.netlab

OUR_PORTS = (4478, 4479)
AT_ONCE = 3
"""Nodes that look at their network at the same time: each takes some CPU for a moment."""
PLACES = {
    **{kind.value: SiteSpec(f"s{number}", kind) for number, kind in enumerate(Kind)},
    "mirror": SiteSpec("mirror", Kind.FULL_CONE, hairpin=True),
    "restricted mirror": SiteSpec("mirror2", Kind.PORT_PRESERVING, hairpin=True),
    "both families": SiteSpec("both", Kind.PORT_PRESERVING, ipv6=True),
}
FOREIGN = ("full_cone", "addr_restricted", "port_preserving", "symmetric", "symmetric_sequential", "firewall")
"""Kinds that are judged by coturn too."""
WORDS = ("mapping", "filtering", "allocation", "hairpin", "udp")
SHORT = SiteSpec("short", Kind.PORT_PRESERVING, lifetime=12)
"""Its router forgets an idle mapping after so many seconds."""
MEASURED = 60.0
"""Seconds by which the lifetime of its mappings must be known, on a busy machine."""
Said = dict[str, Any]


def ask_all(lab: Lab, lab_programs: LabPrograms, places: Iterable[str], *options: str) -> dict[str, Said]:
    """What `netcheck --json` prints at each place; a few nodes are up at a time, each only as long as it takes."""

    def ask(place: str) -> tuple[str, Said]:
        host = lab.sites[PLACES[place].name].host
        running = lab_programs.start_node(host, host.name, *options)
        lab_programs.wait_status(
            host.name, lambda status: bool(status["node"]["announcement"] == "acknowledged"), "announced"
        )
        argv = [*COMMAND, "netcheck", "--json", "--control", str(running.control)]
        with lab.popen(host, argv, stdout=subprocess.PIPE) as asking:
            printed, _ = asking.communicate()
        lab_programs.stop_node(host.name)
        is_answered = asking.returncode == (3 if PLACES[place].truth.udp is Udp.BLOCKED else 0)
        assert is_answered, (place, asking.returncode, lab_programs.log(host.name))
        return place, json.loads(printed)

    lab_programs.make_invite(ipv6=True)  # else several make it at once
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(pool.map(ask, places))


@pytest.fixture(scope="module")
def house(open_lab_programs: OpenLabPrograms) -> tuple[Lab, LabPrograms]:
    return open_lab_programs(*PLACES.values(), SHORT, stun_ports=OUR_PORTS)


@pytest.fixture(scope="module")
def told(house: tuple[Lab, LabPrograms]) -> dict[str, Said]:
    """By our own server, which has two addresses."""
    return ask_all(*house, PLACES)


def test_the_lifetime_of_a_mapping_is_measured_and_the_keepalive_follows(house: tuple[Lab, LabPrograms]) -> None:
    """netfilter's own clock: what lived 8 s idle is gone after 18."""
    lab, lab_programs = house
    host = lab.sites[SHORT.name].host
    lab_programs.start_node(host, host.name)
    lab_programs.wait_status(
        host.name, lambda status: bool(status["node"]["announcement"] == "acknowledged"), "announced"
    )
    ends = time.monotonic() + MEASURED
    said: Said = {"lifetime": None}
    while said["lifetime"] is None and time.monotonic() < ends:
        time.sleep(5.0)  # netcheck alone tells it, and is a survey each time
        said = json.loads(lab_programs.command(host.name, "netcheck", "--json"))
    lab_programs.stop_node(host.name)
    assert (said["lifetime"], said["keepalive"]) == (8.0, 5.0)


@pytest.fixture(scope="module")
def told_by_coturn(house: tuple[Lab, LabPrograms], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    """While our own STUN service hears nobody."""
    lab, lab_programs = house
    start_coturn(lab, tmp_path_factory.mktemp("coturn"))
    ports = ", ".join(map(str, OUR_PORTS))
    hook = "type filter hook input priority filter; policy accept;"
    lab.run(lab.server, ["nft", f"table inet deaf {{ chain input {{ {hook} udp dport {{ {ports} }} drop; }}; }}"])
    try:
        return ask_all(lab, lab_programs, FOREIGN, *(word for server in COTURN for word in ("--stun", str(server))))
    finally:
        lab.run(lab.server, ["nft", "delete table inet deaf"])


def expected(place: str) -> dict[str, str]:
    """The words of the truth. Who has no firewall lets in everybody he has opened for: more is not to be seen."""
    truth = PLACES[place].truth
    words = {key: getattr(truth, key).value for key in WORDS}
    if truth.filtering is Filtering.NONE:
        words["filtering"] = Filtering.ENDPOINT_INDEPENDENT.value
    return words


def seen(said: Said, words: dict[str, str], *, is_hard: bool) -> dict[str, str]:
    """What was said of the same. A hairpin behind a mapping that depends on the peer may stay hidden by the filter."""
    found = {key: said[key] for key in WORDS}
    if is_hard and found["hairpin"] == "unknown":
        found["hairpin"] = words["hairpin"]
    return found


@pytest.mark.parametrize("place", PLACES)
def test_netcheck_names_what_the_lab_has_built(told: dict[str, Said], place: str) -> None:
    said, words = told[place], expected(place)
    print(place, {key: said[key] for key in (*WORDS, "step", "load", "block", "port_mapping", "ipv6", "heard")})
    assert seen(said, words, is_hard=PLACES[place].truth.mapping in HARD_MAPPINGS) == words
    assert said["step"] == (PLACES[place].truth.step or None)
    assert said["block"] is None
    assert said["captive_portal"] == "no"
    assert {key: said["nat"][key] for key in WORDS} == {key: said[key] for key in WORDS}


@pytest.mark.parametrize("place", FOREIGN)
def test_a_foreign_server_tells_the_same(told_by_coturn: dict[str, Said], place: str) -> None:
    """RFC 5780 as coturn speaks it."""
    said, words = told_by_coturn[place], expected(place)
    print(place, {key: said[key] for key in (*WORDS, "heard", "answers")})
    assert {answer["server"] for answer in said["answers"]} <= set(map(str, COTURN))
    assert seen(said, words, is_hard=PLACES[place].truth.mapping in HARD_MAPPINGS) == words


def test_the_second_opinion_is_another_at_sloppy_routers_alone(told: dict[str, Said]) -> None:
    """There its own test poisons the mapping that it then judges."""
    opinions = {place: said["second_opinion"] for place, said in told.items() if place != "sloppy"}
    assert not {place: opinion for place, opinion in opinions.items() if opinion and opinion["agrees"] is False}


def test_ipv6_is_seen_where_it_is_with_its_firewall(told: dict[str, Said]) -> None:
    filtered = {"address": True, "reached": True, "filtering": "address_and_port_dependent"}
    assert told["ipv6_only"]["ipv6"] == told["both families"]["ipv6"] == filtered
    assert told["port_preserving"]["ipv6"] == {"address": False, "reached": None, "filtering": "unknown"}


def test_every_server_that_answered_is_remembered_as_well(told: dict[str, Said]) -> None:
    for place, said in told.items():
        health = {one["server"]: one for one in said["servers"]}
        for answer in said["answers"]:
            assert health[answer["server"]]["silences"] == 0, place
            assert health[answer["server"]]["answered_s_ago"] is not None, place
