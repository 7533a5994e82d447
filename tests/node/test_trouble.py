"""What goes wrong around two nodes: the server dies, processes die, clocks jump, names and addresses clash."""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.model.errors import PeerUnreachable
from tunnel.verify.memory.machine import WALL_AT_ZERO

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork

    from tunnel.embedding import Node, Peer


async def wait_state(peer: Peer, state: str, patience: float = 30.0) -> None:
    with trio.fail_after(patience):
        await peer._connection.notifier.wait_until(lambda: peer.state == state)


async def answers(peer: Peer, seconds: float, gap: float = 0.1) -> list[float]:
    """When pings sent each `gap` seconds were answered."""
    times = [trio.current_time()]

    async def ping() -> None:
        with trio.move_on_after(5.0):
            await peer._connection.echo()
            times.append(trio.current_time())

    end = trio.current_time() + seconds
    async with trio.open_nursery() as nursery:
        while trio.current_time() < end:
            nursery.start_soon(ping)
            await trio.sleep(gap)
    return times


async def connect(one: Node, other: Node) -> Peer:
    peer = await one.connect(other.id)
    await wait_state(peer, "connected")
    await wait_state(await other.connect(one.id), "connected")
    return peer


async def test_a_dead_server_costs_a_direct_path_nothing_and_all_register_again(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async with trio.open_nursery() as nursery, open_in("desk") as desk, open_in("laptop") as laptop:
        async with net.server() as kill:
            peer = await connect(desk, laptop)
            before = [(node.addresses, node.program.link.registrations) for node in (desk, laptop)]
            kill()
        times = await answers(peer, 60.0)
        assert max(later - earlier for earlier, later in pairwise(times)) < 0.2
        assert desk.status().server.state != "registered"
        async with net.server():
            with trio.fail_after(40.0):
                await desk.wait_registered()
                await laptop.wait_registered()
            times = await answers(peer, 5.0)
            assert max(later - earlier for earlier, later in pairwise(times)) < 0.2
            assert peer.state == "connected"
            after = [(node.addresses, node.program.link.registrations) for node in (desk, laptop)]
            assert after == [(addresses, count + 1) for addresses, count in before]
            assert desk.status().announcement == "acknowledged"
            assert peer._connection.is_present
            assert [move.event for move in peer.status().history].count("path_lost") == 0
        nursery.cancel_scope.cancel()


async def test_relayed_peers_find_each_other_again_after_the_server_came_back(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async with open_in("desk", relay_only=True) as desk, open_in("laptop") as laptop:
        async with net.server() as kill:
            peer = await desk.connect("laptop")
            await peer.ping()
            kill()
        await trio.sleep(10.0)
        assert peer.path is None
        reason = peer.reason
        assert reason is not None
        assert reason.code.value == "server_unreachable"
        async with net.server():
            await desk.wait_registered()
            await laptop.wait_registered()
            assert (await desk.ping("laptop")).rtt > 0


async def test_a_killed_and_restarted_node_is_reached_again_within_three_seconds(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """Killed: whatever it says on its way out is lost."""
    gone = net.host("laptop").addresses[0]
    async with net.server(), open_in("desk") as desk:
        async with open_in("laptop") as laptop:
            peer = await connect(desk, laptop)
            net.internet.drop = lambda packet: packet.source.host == gone
        await trio.sleep(3.0)
        net.internet.drop = None
        began = trio.current_time()
        async with open_in("laptop"):
            is_reached = False
            while not is_reached:
                with trio.move_on_after(0.2):
                    await peer._connection.echo()
                    is_reached = True
            assert trio.current_time() - began < 3.0


async def test_two_nodes_with_one_name_are_told_apart_by_id_and_the_notes_tell(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async with (
        net.server(),
        open_in("desk") as desk,
        open_in("twin", host="one") as one,
    ):
        assert (await desk.connect("twin")).id == one.id
        async with open_in("twin", host="two") as two:
            for node in (one, two):
                peer = await desk.connect(node.id)
                await peer.send_datagram(node.id.encode())
                with trio.fail_after(5.0):
                    assert await (await node.connect("desk")).receive_datagram() == node.id.encode()
            assert desk.peer("twin").id == one.id
            shown = {peer.id: (peer.name, peer.claimed_name) for peer in desk.status().peers}
            assert shown == {one.id: ("twin", ""), two.id: ("", "twin")}
            (note,) = desk.status().notes
            assert f"use its id ({two.id})" in note
            for node, other in ((one, two), (two, one)):
                (note,) = node.status().notes
                assert note.startswith("'twin' is this node; another node calls itself that, too")
                assert other.id in note


async def test_who_takes_the_name_of_a_node_that_is_away_gets_nothing_that_was_meant_for_it(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """Whose the name is is kept on disk, so not even a new start of the one that asks opens the way."""
    async with net.server():
        async with open_in("desk") as desk, open_in("laptop") as laptop:
            true_id = (await desk.connect("laptop")).id
            assert true_id == laptop.id
        async with open_in("desk") as desk, open_in("laptop", host="evil") as evil:
            await desk.wait_registered()
            await evil.connect("desk")
            with pytest.raises(PeerUnreachable, match=f"'laptop' is {true_id}, .* use its id .{evil.id}"):
                await desk.connect("laptop")
            with pytest.raises(PeerUnreachable, match=f"'laptop' is {true_id}, .* use its id .{evil.id}"):
                await desk.ping("laptop")
            forgotten = desk.forget("laptop")
            assert (forgotten.id, forgotten.names, forgotten.is_gone) == (true_id, ("laptop",), True)
            assert (await desk.ping("laptop")).id == evil.id


async def test_the_error_for_a_node_that_is_away_names_who_bears_its_name(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """Else whoever set a laptop up anew waits for the old one without an idea why."""
    async with net.server(), open_in("desk") as desk:
        async with open_in("laptop") as laptop:
            true_id = (await desk.connect("laptop")).id
        async with open_in("laptop", host="new") as new:
            await new.connect("desk")
            with pytest.raises(PeerUnreachable, match=f"no way to 'laptop'.*; 'laptop' is {true_id}.*{new.id}"):
                await desk.connect("laptop")
            assert laptop.id == true_id


async def test_a_node_that_is_forgotten_while_it_is_away_is_known_no_more_until_it_comes_back(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async with net.server(), open_in("desk") as desk:
        async with open_in("laptop") as laptop:
            await desk.connect("laptop")
            assert not desk.forget(laptop.id).is_gone
            assert [peer.name for peer in desk.status().peers] == ["laptop"]
        await trio.sleep(20.0)
        assert desk.forget("laptop").is_gone
        assert desk.status().peers == ()
        with pytest.raises(PeerUnreachable, match="no peer 'laptop' here"):
            desk.forget("laptop")
        async with open_in("laptop"):
            await desk.ping("laptop")


async def test_two_claims_to_one_address_are_settled_alike_everywhere(net: SimulatedNetwork, open_in: OpenNode) -> None:
    """A server that lost its registry leases an address anew while the old holder is away with it."""
    async with open_in("desk") as desk, open_in("laptop") as laptop, open_in("phone") as phone, net.server():
        for node in (desk, laptop, phone):
            await node.wait_registered()
        await trio.sleep(1.0)
        older, younger = laptop.program._lease, phone.program._lease
        younger.address, younger.since = older.address, older.since + 10.0
        for node in (laptop, phone):
            node.program.peer_table.claim_own(node.program._lease.interfaces, node.program._lease.since)
            node.program.announcer.note_facts()
        await trio.sleep(1.0)
        assert desk.peer(older.host).name == "laptop"
        for node in (desk, phone):
            holder = node.program.peer_table.holder_of(bytes(map(int, older.host.split("."))))
            assert holder is not None
            assert str(holder.node) == laptop.id
        for node in (desk, laptop, phone):
            assert any(f"{laptop.id} holds it, being the older" in note for note in node.status().notes)


async def test_a_wall_clock_that_jumps_back_changes_nothing_but_the_times_that_are_told(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    jump = -86400.0 * 365
    async with net.server(), open_in("desk") as desk, open_in("laptop") as laptop:
        peer = await connect(desk, laptop)
        moves = len(peer.status().history)
        for name in ("desk", "laptop"):
            net.host(name).clock.wall_offset = jump
        net.server_host.clock.wall_offset = -jump
        times = await answers(peer, 200.0, gap=0.5)
        assert max(later - earlier for earlier, later in pairwise(times)) < 1.0
        assert len(peer.status().history) == moves
        assert desk.program.link.registrations == 1
        assert desk.status().announcement == "acknowledged"
        peer._connection.close()
        await trio.sleep(0.1)
        assert peer.status().history[-1].at > WALL_AT_ZERO + jump - 1.0


async def test_a_wall_clock_that_jumps_forward_costs_a_moment(net: SimulatedNetwork, open_in: OpenNode) -> None:
    """It may be the sign of a snapshot, so both draw new keys; nothing is measured by that clock."""
    async with net.server(), open_in("desk") as desk, open_in("laptop") as laptop:
        peer = await connect(desk, laptop)
        for name in ("desk", "laptop"):
            net.host(name).clock.wall_offset = 86400.0 * 365
        times = await answers(peer, 60.0, gap=0.5)
        assert max(later - earlier for earlier, later in pairwise(times)) < 2.0
        assert await peer.wait_settled() == "connected"


async def test_no_secret_is_in_any_log_or_status_or_repr(
    net: SimulatedNetwork, open_in: OpenNode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with net.server() as kill, open_in("desk") as desk, open_in("laptop") as laptop:
        peer = await connect(desk, laptop)
        await peer.send_datagram(b"a private word")
        kill()
        await trio.sleep(5.0)
        program = desk.program
        keys = program.announcer._network
        node_key = net.host("desk").store.read("node.key")
        assert node_key is not None
        secrets = [desk.invite.secret, keys.psk, keys.announcement_key, node_key]
        texts = [
            *(record.getMessage() + str(vars(record)) for record in caplog.records),
            repr(desk.invite),
            repr(keys),
            repr(program),
            repr(program.identity),
            repr(program.settings),
            repr(peer._connection.session.slots.current),
            repr(peer._connection._probes._exchange),
            str(desk.status()),
        ]
        assert len(caplog.records) > 10
        for secret in secrets:
            for form in (secret.hex(), repr(secret)[2:-1], str(list(secret))[1:-1]):
                assert not any(form in text for text in texts)
        assert not any("a private word" in text for text in texts)
