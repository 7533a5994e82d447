"""The log of `up` says in words what a person wants to know, once for each change."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio.testing

from tunnel.cli.telling import tell_peers, tell_up
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.model.status import PathStatus, PeerStatus

RELAY = PathStatus("relay-websocket", None, None, 1360)
DIRECT = PathStatus("direct", None, None, 1360)
LOST = Reason(ReasonCode.PATH_LOST)
OFFLINE = Reason(ReasonCode.PEER_OFFLINE)


def change(state: str, path: PathStatus | None, reason: Reason | None = None, name: str = "laptop") -> Any:
    return SimpleNamespace(peer=PeerStatus("laptopid", name, (), state, path, reason, 0.0, 0, 0, ()))


async def told_of(caplog: pytest.LogCaptureFixture, *changes: Any) -> list[str]:
    async def watch() -> AsyncIterator[Any]:
        for one in changes:
            yield one

    with caplog.at_level(logging.INFO, "tunnel.cli.telling"):
        await tell_peers(SimpleNamespace(watch=watch))  # type: ignore[arg-type]
    assert {vars(record)["peer"] for record in caplog.records} <= {"laptopid"}
    return caplog.messages


async def test_what_became_of_a_peer_is_told_and_the_tries_are_not(caplog: pytest.LogCaptureFixture) -> None:
    assert await told_of(
        caplog,
        change("requested", None),
        change("punching", RELAY),
        change("connected", DIRECT),
        change("punching", RELAY, LOST),
        change("relayed", RELAY, LOST),
        change("punching", RELAY, LOST),
        change("relayed", RELAY, LOST),
        change("announced", None, OFFLINE),
        change("announced", None),
    ) == ["laptop is direct", "laptop is relayed: path lost", "laptop is offline"]


async def test_a_peer_without_a_name_is_told_by_its_id(caplog: pytest.LogCaptureFixture) -> None:
    assert await told_of(caplog, change("relayed", RELAY, name="")) == ["a peer is relayed"]


@pytest.mark.parametrize(("takes", "server"), [(0.5, "reached"), (60.0, "not reached yet")])
async def test_the_first_line_says_whether_the_server_is_reached(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock, takes: float, server: str
) -> None:
    async def wait_registered() -> None:
        await trio.sleep(takes)

    node: Any = SimpleNamespace(name="desk", id="deskid", wait_registered=wait_registered)
    with caplog.at_level(logging.INFO, "tunnel.cli.telling"):
        await tell_up(node, "home", Path("/srv/c.sock"))
    assert caplog.messages == ["node is up"]
    facts = vars(caplog.records[0])
    assert [facts[key] for key in ("node", "id", "network", "server")] == ["desk", "deskid", "home", server]
    assert trio.current_time() < 3
