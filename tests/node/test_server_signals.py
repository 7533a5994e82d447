"""What the server says reaches whom it concerns, and what it says wrongly reaches nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from tests.node.conftest import SERVER_ADDRESS, WELCOME

from tunnel.model.endpoint import Endpoint
from tunnel.model.reasons import ReasonCode
from tunnel.wire.signals import Announced, Circuit, PeerDown

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.node.conftest import OpenNode, PuppetServer, ScriptedPeer

    from tunnel.embedding import Node


def reasons(node: Node) -> dict[str, ReasonCode | None]:
    """Why each peer is not connected, by its name."""
    return {peer.name: None if peer.reason is None else peer.reason.code for peer in node.status().peers}


async def test_a_welcome_gives_the_lease_and_tells_where_the_server_answers(
    puppet: PuppetServer, open_in: OpenNode
) -> None:
    """A wildcard address stands for the one that we reached."""
    puppet.welcome = replace(WELCOME, stun=(Endpoint("0.0.0.0", 3478), Endpoint("0.0.0.0", 3479)))
    async with open_in("desk") as desk:
        await desk.wait_registered()
        assert desk.program.nat_discovery.own == (Endpoint(SERVER_ADDRESS, 3478), Endpoint(SERVER_ADDRESS, 3479))
        assert desk.addresses[0] == "10.86.0.7"
        assert desk.program.announcer.state in ("announcing", "acknowledged")


async def test_a_node_that_surveys_nothing_asks_none_of_them(puppet: PuppetServer, open_in: OpenNode) -> None:
    async with open_in("desk", survey=False) as desk:
        await desk.wait_registered()
        await trio.sleep(60.0)
        assert desk.program.nat_discovery.own == ()
        assert desk.program.nat_discovery.verdict is None


async def test_an_acknowledgement_is_the_announcer_s(puppet: PuppetServer, open_in: OpenNode) -> None:
    puppet.acknowledges = False
    async with open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(0.1)
        assert desk.status().announcement == "announcing"
        card = desk.program.announcer.card
        assert card is not None
        puppet.say(Announced(card.seq))
        await trio.sleep(0.1)
        assert desk.status().announcement == "acknowledged"


async def test_a_circuit_that_nobody_wants_is_ignored(
    puppet: PuppetServer, open_in: OpenNode, member: Callable[[str], ScriptedPeer]
) -> None:
    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.say(Circuit(member("ghost").keys.id.raw, 77, bytes(32)))
        await trio.sleep(0.1)
        assert len(desk.program.circuits) == 0
        assert desk.program.is_registered


async def test_a_bug_of_ours_costs_the_peer_that_it_is_about_and_not_the_link(
    puppet: PuppetServer,
    open_in: OpenNode,
    member: Callable[[str], ScriptedPeer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ghost, other = member("ghost"), member("other")
    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.say(ghost.up(name="ghost"), other.up(name="other"))
        await trio.sleep(0.1)
        peer = desk.program.peer_table.at(ghost.keys.id)
        assert peer is not None

        def fail(why: str) -> None:
            raise ZeroDivisionError(why)

        monkeypatch.setattr(peer, "note_down", fail)
        puppet.say(PeerDown(ghost.keys.id.raw, "left"), PeerDown(other.keys.id.raw, "left"))
        await trio.sleep(0.1)
        assert reasons(desk) == {"ghost": ReasonCode.INTERNAL_ERROR, "other": ReasonCode.PEER_OFFLINE}
        assert desk.program.is_registered
        assert "signal failed" in caplog.text


async def test_whom_the_server_does_not_name_any_more_is_gone_after_a_while(
    puppet: PuppetServer, open_in: OpenNode, member: Callable[[str], ScriptedPeer]
) -> None:
    """It left while the link was down, so nobody told us."""
    ghost, other = member("ghost"), member("other")
    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.say(ghost.up(name="ghost"), other.up(name="other"))
        await trio.sleep(0.1)
        registrations = desk.program.link.registrations
        desk.program.link.redial()
        while desk.program.link.registrations == registrations:  # noqa: ASYNC110 - a lost link notifies nobody
            await trio.sleep(0.1)
        puppet.say(other.up(name="other"))
        patience = desk.program.settings.timings.return_patience
        await trio.sleep(patience - 0.5)
        assert reasons(desk)["ghost"] != ReasonCode.PEER_OFFLINE
        await trio.sleep(1.0)
        assert reasons(desk)["ghost"] == ReasonCode.PEER_OFFLINE
        assert reasons(desk)["other"] != ReasonCode.PEER_OFFLINE
