"""Groups of equal hosts: what `count` stands for, and each fault reported at its place in the file."""

from __future__ import annotations

import pytest

from tunnel.model.errors import SettingsError
from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.scenarios.action import Connect, Cut, Kill
from tunnel.verify.simulation.scenarios.expectation import ExpectNode, ExpectPeer, ExpectSignals
from tunnel.verify.simulation.scenarios.scenario import Scenario
from tunnel.verify.simulation.scenarios.scenario_file import parse_scenario
from tunnel.verify.simulation.scenarios.scenario_text import write_scenario

OFFICE = """title = "An office"
[routers.office]
nat = "port_restricted"
[hosts.hub]
[hosts.n]
count = 3
behind = "office"
start = 1.0
"""


def office(more: str) -> Scenario:
    return parse_scenario(OFFICE + more, name="office")


def test_a_group_is_so_many_hosts_in_its_place() -> None:
    scenario = office("[hosts.last]\n")
    assert list(scenario.topology.hosts) == ["hub", "n1", "n2", "n3", "last"]
    assert [scenario.topology.hosts[f"n{at}"].addresses for at in (1, 2, 3)] == [
        ("192.168.1.3",), ("192.168.1.4",), ("192.168.1.5",),
    ]  # fmt: skip
    assert {scenario.nodes[f"n{at}"].start for at in (1, 2, 3)} == {1.0}


def test_a_group_s_name_in_an_action_means_each_of_its_hosts() -> None:
    scenario = office('[[do]]\nat = 2.0\ndo = "connect"\nwho = "n"\nto = "hub"\n[[do]]\nat=3.0\ndo="kill"\nwho="hub"\n')
    assert scenario.actions == (
        *(Connect(at=2.0, who=f"n{at}", to="hub") for at in (1, 2, 3)), Kill(at=3.0, who="hub"),
    )  # fmt: skip


def test_two_groups_are_every_two_of_different_hosts() -> None:
    scenario = office('[[do]]\nat = 2.0\ndo = "connect"\nwho = "n"\nto = "n"\n')
    assert len(scenario.actions) == 6
    assert all(isinstance(action, Connect) and action.who != action.to for action in scenario.actions)


def test_a_star_is_the_group_of_all_hosts() -> None:
    scenario = office('[[do]]\nat = 2.0\ndo = "cut"\none = "*"\nother = "server"\n')
    assert [action.one for action in scenario.actions if isinstance(action, Cut)] == ["hub", "n1", "n2", "n3"]


def test_what_is_expected_of_a_group_is_expected_of_each() -> None:
    scenario = office(
        '[[expect]]\nby = 9.0\nnode = "n"\nserver = "registered"\n'
        '[[expect]]\nby = 9.0\nnode = "hub"\npeer = "n"\nstate = "connected"\n'
        '[[expect]]\nhost = "n"\nsignal = "announce"\nat_least = 1\n'
    )
    assert scenario.expectations == (
        *(ExpectNode(by=9.0, node=f"n{at}", server="registered") for at in (1, 2, 3)),
        *(ExpectPeer(by=9.0, node="hub", peer=f"n{at}", state="connected") for at in (1, 2, 3)),
        *(ExpectSignals(host=f"n{at}", signal="announce", at_least=1) for at in (1, 2, 3)),
    )


def test_a_group_is_written_down_as_its_hosts() -> None:
    scenario = office('[[do]]\nat = 2.0\ndo = "connect"\nwho = "n"\nto = "hub"\n')
    assert parse_scenario(write_scenario(scenario), name="office") == scenario


def test_a_group_runs() -> None:
    scenario = office('[[expect]]\nby = 3.0\nnode = "*"\nserver = "registered"\nannouncement = "acknowledged"\n')
    assert run_scenario(scenario, 0).failures == ()


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("count = 3", "count = 0", "scenario:6: hosts.n.count: 0 is not between 1 and 254"),
        ("count = 3", "count = 254", "scenario:4: hosts: 255 are too many: at most 254 are possible"),
        ("count = 3", 'count = "3"', "scenario:6: hosts.n.count: a whole number is expected, not '3'"),
        (
            "count = 3",
            'count = 3\naddresses = ["192.168.1.7"]',
            "scenario:7: hosts.n.addresses: the 3 hosts of a group cannot share it",
        ),
        (
            "count = 3",
            'count = 3\nexternal = "26.0.0.1:7"',
            "scenario:7: hosts.n.external: the 3 hosts of a group cannot share it",
        ),
        ("hosts.hub", "hosts.n2", "scenario:5: hosts.n: 'n2' is the name of two hosts"),
        ("hosts.n]", "hosts.office]", "scenario:2: routers.office: 'office' is the name of two things"),
        ("start = 1.0", "strat = 1.0", "scenario:8: hosts.n.strat: unknown key: did you mean 'start'?"),
        ("start = 1.0", "start = 100.0", "scenario:8: hosts.n.start: 100 is after the end, which is at 30"),
        (
            "start = 1.0",
            '[[do]]\nat=1.0\ndo="connect"\nwho="n"\nto="hub"\n[[do]]\nat=31.0\ndo="stop"\nwho="hub"',
            "scenario:14: do.1.at: 31 is after the end, which is at 30",
        ),
        (
            "start = 1.0",
            '[[do]]\nat=1.0\ndo="connect"\nwho="hub"\nto="hub"\n[[do]]\nat=1.0\ndo="connect"\nwho="x"\nto="n"\n',
            "scenario:12: do.0.to: 'hub' is who as well",
        ),
        (
            "count = 3",
            'count = 1\n[[do]]\nat=1.0\ndo="connect"\nwho="n"\nto="n"\n',
            "scenario:7: do.0: no two hosts are left that this could be about",
        ),
        (
            "count = 3",
            'count = 110\n[[expect]]\nby=1.0\nnode="*"\npeer="*"\nstate="connected"\n',
            "scenario:7: expect.0: more than 10,000 are meant, from the first one of the file to this one",
        ),
    ],
)
def test_a_fault_of_a_group_is_told_where_it_stands(old: str, new: str, fault: str) -> None:
    assert OFFICE.count(old) == 1
    with pytest.raises(SettingsError) as error:
        parse_scenario(OFFICE.replace(old, new), name="office")
    assert str(error.value) == fault
