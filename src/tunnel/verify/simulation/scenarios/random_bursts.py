"""Bursts and superpackets in random scenarios: their hosts have TUN interfaces, some with offloads."""

from __future__ import annotations

import random
from dataclasses import replace

from tunnel.verify.simulation.scenarios.action import Action, Send
from tunnel.verify.simulation.scenarios.scenario import NodePlan, Scenario

BURSTS = 1_200_000
"""From this seed on they are drawn, from another source: scenarios of lower seeds do not change."""
TUN = "p2pt0"


def with_bursts(scenario: Scenario, seed: int) -> Scenario:
    """The scenario with most of its traffic in IP packets, if its seed is one of these."""
    if seed < BURSTS:
        return scenario
    chance = random.Random(f"bursts/{seed}")  # noqa: S311 - repeatable on purpose
    nodes = {
        host: replace(plan, settings=replace(plan.settings, tun=TUN), offloads=chance.random() < 0.5)
        for host, plan in scenario.nodes.items()
    }
    actions = tuple(_burst(action, nodes, chance) for action in scenario.actions)
    return replace(scenario, nodes=nodes, actions=actions)


def _burst(action: Action, nodes: dict[str, NodePlan], chance: random.Random) -> Action:
    if not isinstance(action, Send) or chance.random() < 0.2:
        return action
    burst = chance.choice((1, 8, 40))
    is_superpacket = burst > 1 and nodes[action.who].offloads and chance.random() < 0.7
    return replace(action, burst=burst, ip=chance.choice((4, 6)), superpacket=is_superpacket)
