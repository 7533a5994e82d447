"""Random scenarios repeat themselves, can be written as files, and pass."""

from __future__ import annotations

from itertools import chain

import pytest

from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.scenarios.action import (
    ChangeLine,
    Cut,
    FillDisk,
    Freeze,
    Kill,
    Lift,
    Plug,
    Send,
    Start,
    Stop,
    Unplug,
)
from tunnel.verify.simulation.scenarios.random_bursts import BURSTS
from tunnel.verify.simulation.scenarios.random_scenario import NEWER, NEWEST, QUIET, TROUBLE, draw_scenario
from tunnel.verify.simulation.scenarios.scenario_file import parse_scenario
from tunnel.verify.simulation.scenarios.scenario_text import write_scenario

pytestmark = pytest.mark.no_cover  # whole runs: they would take three times as long

SEEDS = range(200)
NEWER_SEEDS = range(NEWER, NEWER + 200)
NEWEST_SEEDS = range(NEWEST, NEWEST + 50)
BURST_SEEDS = range(BURSTS, BURSTS + 50)


ONCE_BROKEN = (7027, 400133, 400165, 400979, 501157, 700225, 810506, 900046)
"""A pair in one LAN that was cut during its punch; a cut that stayed when its host had moved; port predictions beside
another one, a restart, or a router with a new address; a scenario in which two lost datagrams were all; a path that
one side alone had proved, just after the punch (docs/simulation.md)."""


@pytest.mark.parametrize(
    "seed",
    [
        *range(8),
        *ONCE_BROKEN,
        *range(NEWER, NEWER + 6),
        600078,
        600084,
        *range(NEWEST, NEWEST + 4),
        *range(BURSTS, BURSTS + 4),
    ],
)
def test_a_random_scenario_passes(seed: int) -> None:
    outcome = run_scenario(draw_scenario(seed), seed)
    assert outcome.failures == ()


def test_a_seed_always_draws_the_same_scenario() -> None:
    assert all(draw_scenario(seed) == draw_scenario(seed) for seed in (*SEEDS, *NEWER_SEEDS))
    assert len({write_scenario(draw_scenario(seed)) for seed in SEEDS}) == len(SEEDS)


def test_a_random_scenario_can_be_kept_as_a_file_and_is_the_same_then() -> None:
    for seed in (*SEEDS, *NEWER_SEEDS):
        scenario = draw_scenario(seed)
        assert parse_scenario(write_scenario(scenario), name=scenario.name) == scenario


def test_every_fault_ends_before_the_quiet_begins() -> None:
    for seed in SEEDS:
        scenario = draw_scenario(seed)
        faults = [action for action in scenario.actions if not isinstance(action, Send)]
        assert all(action.at <= TROUBLE[1] + 3.0 for action in faults)
        assert scenario.length == TROUBLE[1] + QUIET
        begun = sum(isinstance(action, Kill | Unplug | Cut) for action in faults)
        ended = sum(isinstance(action, Start | Plug | Lift) for action in faults)
        assert ended >= begun


def test_two_hundred_random_scenarios_have_every_kind_of_fault() -> None:
    words = {action.word for action in chain.from_iterable(draw_scenario(seed).actions for seed in SEEDS)}
    assert words >= {
        "kill", "start", "stop", "send", "reboot", "renumber", "cut", "lift", "line", "roam", "sleep", "jump_clock",
        "unplug", "plug", "shut", "lose_names",
    }  # fmt: skip


def test_newer_trouble_is_drawn_from_a_seed_on_and_ends_like_all_other() -> None:
    """Kept seeds before it mean what they meant."""
    new = {"freeze", "fill_disk"}
    assert not new & {action.word for seed in SEEDS for action in draw_scenario(seed).actions}
    scenarios = [draw_scenario(seed) for seed in NEWER_SEEDS]
    actions = list(chain.from_iterable(scenario.actions for scenario in scenarios))
    assert new <= {action.word for action in actions}
    lines = [action for action in actions if isinstance(action, ChangeLine)]
    assert {action.udp_loss_up for action in lines} >= {0.0, 0.3, 1.0}
    assert {action.udp_loss_down for action in lines} >= {0.0, 0.3, 1.0}
    assert {action.udp_rate_up for action in lines} >= {500.0, 1e9}
    assert {plan.clock for scenario in scenarios for plan in scenario.nodes.values()} == {0.0, -1.8e9}
    assert all(action.at + action.seconds <= TROUBLE[1] + 0.01 for action in actions if isinstance(action, Freeze))
    fills = [action for action in actions if isinstance(action, FillDisk)]
    assert sum(action.full for action in fills) * 2 == len(fills)


def test_lines_change_their_mtu_from_a_seed_on_and_take_ethernet_s_in_the_end() -> None:
    def changes(seed: int) -> list[ChangeLine]:
        return [one for one in draw_scenario(seed).actions if isinstance(one, ChangeLine) and one.mtu_up is not None]

    assert not any(changes(seed) for seed in (*SEEDS, *NEWER_SEEDS))
    drawn = [changes(seed) for seed in NEWEST_SEEDS]
    assert {one.mtu_up for each in drawn for one in each} >= {1000, 1240, 1280, 1500}
    for each in drawn:
        assert (each[-1].at, each[-1].mtu_up, each[-1].mtu_down) == (TROUBLE[1], 1500, 1500)


def test_nobody_is_told_to_end_while_he_stands_still() -> None:
    """The start that follows would find the program running, and then it ends."""
    for seed in NEWER_SEEDS:
        actions = draw_scenario(seed).actions
        assert not {d.who for d in actions if isinstance(d, Stop)} & {d.who for d in actions if isinstance(d, Freeze)}


def test_bursts_and_superpackets_are_drawn_from_a_seed_on() -> None:
    def sends(seed: int) -> list[Send]:
        return [action for action in draw_scenario(seed).actions if isinstance(action, Send)]

    assert {(each.burst, each.ip) for seed in (*SEEDS, *NEWER_SEEDS, *NEWEST_SEEDS) for each in sends(seed)} == {
        (1, None)
    }
    drawn = [each for seed in BURST_SEEDS for each in sends(seed)]
    assert {each.burst for each in drawn} == {1, 8, 40}
    assert {each.ip for each in drawn} == {None, 4, 6}
    assert {each.superpacket for each in drawn} == {True, False}
    for seed in BURST_SEEDS:
        scenario = draw_scenario(seed)
        assert parse_scenario(write_scenario(scenario), name=scenario.name) == scenario
