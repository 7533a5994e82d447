"""What a node announces about itself, as the facts are when it is composed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from tests.node.conftest import SERVER_ADDRESS

from tunnel.model.candidate import CandidateKind
from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Udp

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork


async def test_before_a_survey_the_host_s_addresses_are_announced_and_no_verdict(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """Registration and introductions never wait for a survey."""
    async with open_in("desk", udp_port=4242) as desk:
        body, has_verdict = desk.program.local_announcement.announcement()
        assert not has_verdict
        assert body.nat.udp is Udp.UNKNOWN
        here = Endpoint(net.host("desk").addresses[0], 4242)
        assert [(each.endpoint, each.kind) for each in body.candidates] == [(here, CandidateKind.LAN)]


async def test_after_a_survey_the_verdict_is_in_it(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with net.server(), open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(5.0)
        body, has_verdict = desk.program.local_announcement.announcement()
        assert has_verdict
        assert body.nat.udp is Udp.OPEN
        assert body.addresses == desk.addresses


@pytest.mark.parametrize(
    "settings",
    [{"relay_only": True, "external": Endpoint(SERVER_ADDRESS, 4242)}, {"udp": False}],
    ids=["relay only", "no UDP"],
)
async def test_where_only_the_relay_is_used_no_candidate_is_told(
    net: SimulatedNetwork, open_in: OpenNode, settings: dict[str, Any]
) -> None:
    """Peers learn no address of such a node."""
    async with net.server(), open_in("desk", **settings) as desk:
        await desk.wait_registered()
        await trio.sleep(5.0)
        body, _ = desk.program.local_announcement.announcement()
        assert body.relay_only
        assert body.candidates == ()


async def test_without_surveys_an_announcement_waits_for_no_verdict(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with open_in("desk", survey=False) as desk:
        _, has_verdict = desk.program.local_announcement.announcement()
        assert has_verdict
