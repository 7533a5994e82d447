"""The link to the server: dialed again and again, never trusted, and not missed by a direct path."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused
from tunnel.node.refusals import KEY_IN_USE
from tunnel.wire.signals import ErrorSignal, Ping, Pong, Welcome, Withdraw

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, PuppetServer, SimulatedNetwork

    from tunnel.embedding import Node
    from tunnel.model.invite import Invite


async def dials_of(node: Node, count: int) -> list[float]:
    """When the link began to connect, so many times."""

    def dials() -> list[float]:
        return [at for at, _, _, target in node.program.link.moves if target == "connecting"]

    while len(dials()) < count:  # noqa: ASYNC110 - a link that backs off notifies nobody
        await trio.sleep(0.1)
    return dials()


async def test_an_unreachable_server_is_dialed_after_1_2_4_8_16_and_then_32_seconds(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async with open_in("desk") as desk:
        dials = await dials_of(desk, 8)
        waits = [later - earlier for earlier, later in pairwise(dials)]
        for wait, step in zip(waits, (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 32.0), strict=True):
            assert 0.8 * step <= wait <= 1.2 * step + 0.1
        assert len({round(wait / step, 3) for wait, step in zip(waits, (1, 2, 4, 8, 16, 32, 32), strict=True)}) > 4


async def test_the_backoff_begins_anew_after_a_registration(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with open_in("desk") as desk:
        await dials_of(desk, 5)
        async with net.server():
            await desk.wait_registered()
        lost_at, dials = trio.current_time(), await dials_of(desk, 1)
        assert (await dials_of(desk, len(dials) + 1))[-1] - lost_at < 1.5


async def test_a_machine_that_has_its_network_again_dials_at_once(net: SimulatedNetwork, open_in: OpenNode) -> None:
    """Up to 38 s of backoff would be waited out although the cable was put back in."""
    async with net.server(), open_in("desk") as node:
        await node.wait_registered()
        host = net.host("desk")
        addresses = host.addresses
        host.change_addresses()
        await trio.sleep(20.0)
        assert node.program.link.state == "backing_off"
        host.change_addresses(*addresses)
        await trio.sleep(0.5)
        assert node.program.is_registered


async def test_a_server_that_takes_the_connection_and_says_nothing_is_left_after_five_seconds(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    await net.server_host.world().streams.open_listener(Endpoint("25.0.0.1", 8443))
    async with open_in("desk") as desk:
        await trio.sleep(4.9)
        assert desk.status().server.state == "connecting"
        await trio.sleep(0.5)
        assert desk.status().server.state == "backing_off"
        assert desk.status().server.reason


async def test_an_unanswered_ping_makes_the_node_dial_again_at_once(puppet: PuppetServer, open_in: OpenNode) -> None:
    async with open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(1.0)
        puppet.answers_pings = False
        await trio.sleep(15.0 + 10.0 + 0.5)
        assert len(puppet.hellos) == 2
        assert [event for _, _, event, _ in desk.program.link.moves][-2:] == ["redial", "welcomed"]


async def test_a_check_in_distress_waits_one_second_only(puppet: PuppetServer, open_in: OpenNode) -> None:
    async with open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(1.0)
        puppet.answers_pings = False
        desk.program.link.check()
        await trio.sleep(1.3)
        assert len(puppet.hellos) == 2


async def test_a_healthy_link_is_pinged_every_fifteen_seconds_and_measured(
    puppet: PuppetServer, open_in: OpenNode
) -> None:
    async with open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(65.0)
        pings = [at for at, signal in puppet.heard if isinstance(signal, Ping)]
        assert [later - earlier for earlier, later in pairwise(pings)] == [pytest.approx(15.0, abs=0.1)] * 4
        assert desk.status().server.rtt == pytest.approx(0.04, abs=0.001)
        assert len(puppet.hellos) == 1


async def test_a_pong_that_is_older_than_any_round_trip_measures_nothing(
    puppet: PuppetServer, open_in: OpenNode
) -> None:
    """One of the two machines stood still."""
    async with open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(1.0)
        puppet.answers_pings = False
        await trio.sleep(15.0)
        token = next(signal.token for _, signal in reversed(puppet.heard) if isinstance(signal, Ping))
        await trio.sleep(7.0)
        puppet.say(Pong(token))
        await trio.sleep(1.0)
        assert desk.status().server.rtt == pytest.approx(0.04, abs=0.001)
        assert len(puppet.hellos) == 1


async def test_a_node_that_had_no_turn_reads_its_pong_before_it_dials_again(
    puppet: PuppetServer, open_in: OpenNode, autojump_clock: trio.testing.MockClock
) -> None:
    """A doubted link has a second, and the answer came in it. When it is read says nothing of the round trip."""
    async with open_in("desk") as desk:
        await desk.wait_registered()
        for _ in range(10):  # whose turn is first after a stall is chance
            await trio.sleep(3.0)
            desk.program.link.check()
            await trio.sleep(0.01)
            autojump_clock.jump(2.0)
        await trio.sleep(3.0)
        assert len(puppet.hellos) == 1
        assert desk.status().server.rtt == pytest.approx(0.04, abs=0.001)
        puppet.answers_pings = False
        desk.program.link.check()
        autojump_clock.jump(2.0)
        await trio.sleep(1.3)
        assert len(puppet.hellos) == 2


async def test_a_node_that_was_replaced_by_its_twin_comes_back_slowly(puppet: PuppetServer, open_in: OpenNode) -> None:
    """Two processes with one key would otherwise throw each other out once a second."""
    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.say(ErrorSignal("replaced", "the same node has registered again"))
        await trio.sleep(20.0)
        assert len(puppet.hellos) == 1
        assert desk.status().server.reason == "replaced: the same node has registered again"
        assert desk.status().notes == (KEY_IN_USE,)
        await trio.sleep(20.0)
        assert len(puppet.hellos) == 2
        assert desk.status().notes == (KEY_IN_USE,), "it is registered, and will be replaced again"
        await trio.sleep(600.0)
        assert desk.status().notes == ()


async def test_a_node_that_was_replaced_draws_new_keys_but_not_each_time(
    puppet: PuppetServer, open_in: OpenNode
) -> None:
    """The other one may run from a copy of this memory, and nothing else may tell. A server that lies costs little."""
    async with open_in("desk") as desk:
        epochs = [desk.program.identity.epoch]
        for _ in range(3):
            await desk.wait_registered()
            puppet.say(ErrorSignal("replaced", "the same node has registered again"))
            await trio.sleep(1.0)
            epochs.append(desk.program.identity.epoch)
        assert epochs[0] != epochs[1] == epochs[2] == epochs[3]


async def test_a_state_folder_on_two_machines_is_named_as_that_on_both(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """Each takes the other's place as it comes back, and nobody would know why the network comes and goes."""
    net.host("desk").store.write("node.key", bytes(range(32)))
    net.host("copy").store.write("node.key", bytes(range(32)))
    async with net.server(), open_in("desk") as desk:
        await desk.wait_registered()
        assert desk.status().notes == ()
        async with open_in("copy") as copy:
            await copy.wait_registered()
            await trio.sleep(45.0)
            assert desk.id == copy.id
            for node in (desk, copy):
                assert KEY_IN_USE in node.status().notes


async def test_a_farewell_reaches_the_server(puppet: PuppetServer, open_in: OpenNode) -> None:
    async with open_in("desk") as desk:
        await desk.wait_registered()
    assert any(isinstance(signal, Withdraw) for _, signal in puppet.heard)


async def test_a_server_that_hangs_does_not_keep_a_node_from_leaving(puppet: PuppetServer, open_in: OpenNode) -> None:
    async with open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(1.0)
        puppet.answers_pings = False
        began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(desk.program.settings.timings.leave_patience, abs=0.1)


@pytest.mark.parametrize("code", ["not_authentic", "version", "handle_taken"])
async def test_a_first_registration_that_waiting_does_not_cure_ends_the_node_with_the_remedy(
    puppet: PuppetServer, open_in: OpenNode, code: str
) -> None:
    puppet.welcome = ErrorSignal(code, "so there")

    async def wait_for_it() -> None:
        async with open_in("desk"):
            await trio.sleep(60.0)

    with pytest.raises(Refused, match=f"{code}: so there; ") as caught:
        await wait_for_it()
    assert caught.value.code == code
    assert trio.current_time() < 1.0


@pytest.mark.parametrize("code", ["network_full", "unavailable", "internal_error", "timeout", "shutting_down", "what"])
async def test_a_refusal_that_waiting_may_cure_is_tried_again(
    puppet: PuppetServer, open_in: OpenNode, code: str
) -> None:
    puppet.welcome = ErrorSignal(code)
    async with open_in("desk") as desk:
        await trio.sleep(60.0)
        assert len(puppet.hellos) > 3
        assert desk.status().server.reason == code


async def test_a_node_that_was_registered_once_is_never_ended_by_a_refusal(
    puppet: PuppetServer, open_in: OpenNode
) -> None:
    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.welcome = ErrorSignal("not_authentic")
        puppet.say(ErrorSignal("shutting_down"))
        await trio.sleep(60.0)
        assert len(puppet.hellos) > 3
        assert desk.status().server.state == "backing_off"


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
    return [
        (str(vars(record)["reason"]), int(vars(record)["times"]))
        for record in caplog.records
        if record.levelno == logging.WARNING and record.name == "tunnel.node.refusals"
    ]


async def test_an_unreachable_server_is_complained_about_at_once_and_then_more_and_more_seldom(
    net: SimulatedNetwork, open_in: OpenNode, caplog: pytest.LogCaptureFixture
) -> None:
    net.server_host.change_addresses(*net.server_host.addresses)
    async with open_in("desk"):
        await trio.sleep(1000.0)
    told = warnings_of(caplog)
    assert {reason for reason, _ in told} == {"25.0.0.1:8443: refused"}
    assert [times for _, times in told] == [1, 2, 4, 8, 16, 32]
    assert all(vars(record)["remedy"].startswith("check that the server runs") for record in caplog.records[-1:])


async def test_a_server_name_that_nobody_knows_is_told_with_the_remedy_of_a_name(
    home: Invite, open_in: OpenNode, caplog: pytest.LogCaptureFixture
) -> None:
    invite = replace(home, server="wss://server.invalid:8443")
    async with open_in("desk", invite=invite) as desk:
        await trio.sleep(10.0)
        server = desk.status().server
    assert server.reason == "nobody knows the name 'server.invalid'"
    assert (server.remedy or "").startswith("check the spelling of the name in the invite")
    assert vars(caplog.records[-1])["remedy"] == server.remedy


async def test_each_new_reason_is_told_at_once(
    puppet: PuppetServer, open_in: OpenNode, caplog: pytest.LogCaptureFixture
) -> None:
    puppet.welcome = ErrorSignal("network_full")
    async with open_in("desk"):
        await trio.sleep(20.0)
        puppet.welcome = ErrorSignal("unavailable")
        await trio.sleep(40.0)
    reasons = [reason for reason, times in warnings_of(caplog) if times == 1]
    assert reasons == ["network_full", "unavailable"]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "10.86.0.7/0",
        "0.0.0.0/0",
        "10.86.0.7/7",
        "10.86.0.7/31",
        "8.8.8.8/24",
        "127.0.0.1/8",
        "224.0.0.1/24",
        "169.254.169.254/16",
        "192.0.0.0/8",
        "fd00::1/48",
        "10.86.0.7/16/16",
        "10.86.0.7 /16\n",
        "9" * 500,
    ],
)
async def test_a_lease_that_no_tunnel_may_have_is_refused(
    puppet: PuppetServer, open_in: OpenNode, address: str
) -> None:
    """A server that could lease any prefix could take over any route of the machine, or crash the node."""
    puppet.welcome = Welcome(address, 1.0, Endpoint("26.0.0.1", 5), ())
    async with open_in("desk", tun="p2pt0") as desk:
        await trio.sleep(10.0)
        assert len(puppet.hellos) > 2
        assert len(desk.addresses) == 1
        assert desk.status().server.state != "registered"


async def test_a_server_whose_signals_are_of_another_version_is_refused_by_us(
    puppet: PuppetServer, open_in: OpenNode
) -> None:
    from tunnel.wire.signals import Challenge

    puppet.first = lambda: Challenge(bytes(32), bytes(31) + b"\x09", version=2)

    async def wait_for_it() -> None:
        async with open_in("desk"):
            await trio.sleep(60.0)

    with pytest.raises(Refused, match="signals are of version 2, ours of 1: update p2ptunnel-trio here"):
        await wait_for_it()
    assert puppet.hellos == []


async def test_a_server_that_speaks_out_of_turn_is_left_alone(puppet: PuppetServer, open_in: OpenNode) -> None:
    puppet.first = lambda: Withdraw()
    async with open_in("desk") as desk:
        await trio.sleep(5.0)
        assert puppet.hellos == []
        assert len(puppet.links) > 1
        assert desk.status().server.reason == "the server said Withdraw where a Challenge was due"
