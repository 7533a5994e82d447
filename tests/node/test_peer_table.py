"""Who is who: by id, by name, by address; and who holds an address that two claim."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast

import pytest

from tunnel.crypto.network_keys import tunnel_address6
from tunnel.machines.notifier import Notifier
from tunnel.model.announcement import Announcement, PeerCard
from tunnel.model.errors import PeerUnreachable
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.nat import NatReport
from tunnel.network.memory_store import MemoryStore
from tunnel.node.name_holders import MAX_UNSPOKEN, NameHolders
from tunnel.node.peer_table import PeerTable

if TYPE_CHECKING:
    from tunnel.peer.connection import PeerConnection

NETWORK = NetworkId(bytes(16))
OWN, ONE, TWO = (NodeId(bytes([first]) * 16) for first in (5, 1, 9))
SHARED = "10.86.0.7"


@dataclass(eq=False)
class Known:
    """A peer, as far as the table needs one."""

    node: NodeId
    card: PeerCard | None = None
    is_present: bool = True
    can_carry: bool = False
    seq: int = field(default=0)
    name: str = ""

    def note_name(self, name: str) -> None:
        self.name = name


def fresh(store: MemoryStore | None = None) -> PeerTable:
    return PeerTable(NETWORK, OWN, "desk", NameHolders(store or MemoryStore(), NETWORK), Notifier())


@pytest.fixture
def peer_table() -> PeerTable:
    peer_table = fresh()
    peer_table.claim_own(("10.86.0.5/16",), 0.0)
    return peer_table


def announce(
    peer_table: PeerTable, node: NodeId, name: str, *addresses: str, since: float = 0.0, present: bool = True
) -> Known:
    peer = cast("Known | None", peer_table.at(node))
    if peer is None:
        peer = Known(node)
        peer_table.add(cast("PeerConnection", peer))
    peer.seq += 1
    peer.is_present = present
    body = Announcement(name, bytes(32), addresses, (), NatReport(), claimed_since=since)
    peer.card = PeerCard(node.raw, bytes(16), peer.seq, body)
    peer_table.settle(peer.card)
    return peer


def holder_of(peer_table: PeerTable, address: str) -> object:
    return peer_table.holder_of(ip_address(address).packed)


def test_a_peer_is_found_by_id_by_name_and_by_address(peer_table: PeerTable) -> None:
    one = announce(peer_table, ONE, "laptop", SHARED)
    announce(peer_table, TWO, "phone", "10.86.0.8")
    for wanted in (str(ONE), "laptop", SHARED):
        assert peer_table.find(wanted) is cast("PeerConnection", one)


def test_a_peer_that_nobody_knows_is_an_error_that_names_the_others(peer_table: PeerTable) -> None:
    with pytest.raises(PeerUnreachable, match="nobody yet"):
        peer_table.find("laptop")
    announce(peer_table, ONE, "laptop")
    with pytest.raises(PeerUnreachable, match="known: laptop"):
        peer_table.find("phone")


def test_a_name_stands_for_the_first_node_that_bore_it_also_while_that_is_away(peer_table: PeerTable) -> None:
    """Any member can call itself anything, and what is meant for the laptop must not reach who only says so."""
    one = announce(peer_table, ONE, "laptop", present=False)
    two = announce(peer_table, TWO, "laptop")
    assert peer_table.find("laptop") is cast("PeerConnection", one)
    assert peer_table.find(str(TWO)) is cast("PeerConnection", two)
    assert (one.name, two.name) == ("laptop", "")


def test_two_nodes_of_one_name_are_in_the_notes_with_their_ids(peer_table: PeerTable) -> None:
    announce(peer_table, ONE, "laptop")
    two = announce(peer_table, TWO, "laptop")
    (note,) = peer_table.notes
    assert f"'laptop' is {ONE}" in note
    assert f"use its id ({TWO})" in note
    assert f"forget {ONE}" in note
    two.is_present = False
    assert not peer_table.notes


def test_of_many_nodes_with_one_name_a_note_shows_a_few(peer_table: PeerTable) -> None:
    """Keys cost a member nothing, and status must stay readable."""
    for number in range(50):
        announce(peer_table, NodeId(bytes([100 + number]) * 16), "laptop")
    (note,) = peer_table.notes
    assert "and 46 more" in note
    assert len(note) < 500


@pytest.mark.parametrize("twin", ["Laptop", "l\uff41ptop", "LAPTOP"])
def test_a_name_is_taken_in_whatever_case_and_width(peer_table: PeerTable, twin: str) -> None:
    """Nobody tells them apart at a glance."""
    announce(peer_table, ONE, "laptop")
    assert announce(peer_table, TWO, twin).name == ""


def test_a_name_outlives_the_process(peer_table: PeerTable) -> None:
    store = MemoryStore()
    holders = NameHolders(store, NETWORK)
    announce(PeerTable(NETWORK, OWN, "desk", holders, Notifier()), ONE, "laptop")
    holders.save()
    later = fresh(store)
    announce(later, TWO, "laptop")
    with pytest.raises(PeerUnreachable, match=f"'laptop' is {ONE}, .* use its id .{TWO}"):
        later.find("laptop")
    with pytest.raises(PeerUnreachable, match="no peer 'laptop' here; known: nobody yet"):
        peer_table.find("laptop")


def test_a_name_that_had_to_go_is_not_borne_on(peer_table: PeerTable) -> None:
    """Else two nodes would be found under it. Who bears another name by now keeps that."""
    renamed = announce(peer_table, TWO, "phone", present=False)
    announce(peer_table, TWO, "telephone", present=False)
    one = announce(peer_table, ONE, "laptop", present=False)
    for number in range(MAX_UNSPOKEN - 2):
        announce(peer_table, NodeId(number.to_bytes(16, "big")), f"name {number}")
    assert (renamed.name, one.name) == ("telephone", "laptop")
    assert announce(peer_table, NodeId(bytes(15) + b"\xff"), "phone").name == "phone"
    assert (renamed.name, one.name) == ("", "laptop")
    announce(peer_table, NodeId(bytes(14) + b"\xff\xff"), "tablet")
    assert (renamed.name, one.name) == ("", "")


def test_a_name_whose_node_is_away_is_told_as_that() -> None:
    store = MemoryStore()
    holders = NameHolders(store, NETWORK)
    holders.take("laptop", ONE)
    holders.save()
    with pytest.raises(PeerUnreachable, match=f"'laptop' is {ONE}, which is not here"):
        fresh(store).find("laptop")


def test_while_the_server_is_not_reached_nobody_is_said_to_be_away() -> None:
    store = MemoryStore()
    holders = NameHolders(store, NETWORK)
    holders.take("laptop", ONE)
    holders.save()
    unknown = (
        f"'laptop' is {ONE}, of which nothing more is known yet; the server, which tells who is here, is not reached"
    )
    with pytest.raises(PeerUnreachable, match=unknown):
        fresh(store).find("laptop", is_told=False)
    with pytest.raises(PeerUnreachable, match=r"no peer 'shed' here; .* the server, .* is not reached"):
        fresh(store).find("shed", is_told=False)


def test_a_name_that_is_set_free_goes_to_the_present_node_that_bears_it(peer_table: PeerTable) -> None:
    """A laptop that was set up anew has a new key: its owner says that the old one is gone."""
    one = announce(peer_table, ONE, "laptop", present=False)
    two = announce(peer_table, TWO, "laptop")
    assert peer_table.resolve("laptop") == ONE
    assert peer_table.free_names(ONE) == ("laptop",)
    assert (one.name, two.name) == ("", "laptop")
    assert peer_table.find("laptop") is cast("PeerConnection", two)


def test_a_name_that_is_set_free_stays_with_who_alone_bears_it(peer_table: PeerTable) -> None:
    announce(peer_table, ONE, "laptop")
    peer_table.free_names(ONE)
    assert peer_table.find("laptop").node == ONE


@pytest.mark.parametrize("name", ["10.86.9.9", "fd00::9", "[fd00::9]:80", "a" * 26, "127.1", "\uff110.86.9.9"])
def test_who_calls_itself_like_an_address_or_an_id_is_shown_by_its_id(peer_table: PeerTable, name: str) -> None:
    peer = announce(peer_table, ONE, name)
    assert peer.name == ""
    with pytest.raises(PeerUnreachable, match=f"reads as an address or an id: use its id .{ONE}"):
        peer_table.find(name)
    assert peer_table.notes == (
        f"a node calls itself {name!r}, which reads as an address or an id: use its id ({ONE})",
    )


def test_a_peer_with_our_own_name_is_in_the_notes_until_it_leaves(peer_table: PeerTable) -> None:
    one = announce(peer_table, ONE, "desk")
    remedy = f"use its id ({ONE}), or start one of the two with another --name"
    assert peer_table.notes == (f"'desk' is this node; another node calls itself that, too: {remedy}",)
    with pytest.raises(PeerUnreachable, match="'desk' is this node"):
        peer_table.find("desk")
    one.is_present = False
    assert not peer_table.notes


@pytest.mark.parametrize("first", [ONE, TWO])
def test_of_two_claims_to_an_address_the_older_holds_whoever_comes_first(peer_table: PeerTable, first: NodeId) -> None:
    since = {ONE: 200.0, TWO: 100.0}
    for node in (first, ONE, TWO):
        announce(peer_table, node, f"node {node}", SHARED, since=since[node])
    assert holder_of(peer_table, SHARED) is peer_table.at(TWO)
    assert peer_table.notes == (f"address {SHARED} is claimed by 2 nodes; {TWO} holds it, being the older",)


def test_equal_claims_go_to_the_lower_id_on_every_node(peer_table: PeerTable) -> None:
    announce(peer_table, TWO, "two", SHARED)
    announce(peer_table, ONE, "one", SHARED)
    assert holder_of(peer_table, SHARED) is peer_table.at(ONE)


def test_what_we_hold_ourselves_is_no_peer_s(peer_table: PeerTable) -> None:
    peer_table.claim_own((f"{SHARED}/16",), 100.0)
    announce(peer_table, ONE, "one", SHARED, since=200.0)
    assert holder_of(peer_table, SHARED) is None
    assert peer_table.notes == (f"address {SHARED} is claimed by 2 nodes; {OWN} holds it, being the older",)
    announce(peer_table, TWO, "two", SHARED, since=50.0)
    assert holder_of(peer_table, SHARED) is peer_table.at(TWO)


def test_a_claim_that_is_given_up_goes_to_the_next(peer_table: PeerTable) -> None:
    announce(peer_table, ONE, "one", SHARED, since=100.0)
    announce(peer_table, TWO, "two", SHARED, since=200.0)
    announce(peer_table, ONE, "one", "10.86.0.8")
    assert holder_of(peer_table, SHARED) is peer_table.at(TWO)
    assert holder_of(peer_table, "10.86.0.8") is peer_table.at(ONE)
    assert peer_table.notes == ()


def test_an_ipv6_address_belongs_to_its_id_whatever_others_claim(peer_table: PeerTable) -> None:
    own6 = tunnel_address6(NETWORK, ONE)
    announce(peer_table, TWO, "two", own6)
    assert holder_of(peer_table, own6) is None
    announce(peer_table, ONE, "one", own6, since=1e9)
    assert holder_of(peer_table, own6) is peer_table.at(ONE)
    assert peer_table.notes == ()


def test_room_is_made_by_the_absent_and_unreached_only(peer_table: PeerTable) -> None:
    announce(peer_table, ONE, "one", SHARED, present=False).can_carry = True
    two = announce(peer_table, TWO, "two", "10.86.0.8")
    assert peer_table.evict() is None
    two.is_present = False
    assert peer_table.evict() is cast("PeerConnection", two)
    assert holder_of(peer_table, "10.86.0.8") is None
    assert len(peer_table) == 1


def test_claims_settle_alike_in_whatever_order_they_come() -> None:
    """Every node hears them in another order, and all must send a packet to the same one."""
    chance = random.Random(1)
    nodes = [NodeId(chance.randbytes(16)) for _ in range(6)]
    addresses = [f"10.86.0.{number}" for number in range(4)]
    final = {node: (chance.sample(addresses, 2), float(chance.randrange(3))) for node in nodes}
    views = []
    for _ in range(20):
        peer_table = fresh()
        for node in chance.choices(nodes, k=12):
            announce(peer_table, node, "x", *chance.sample(addresses, 3), since=float(chance.randrange(3)))
        for node in chance.sample(nodes, len(nodes)):
            claimed, since = final[node]
            announce(peer_table, node, "x", *claimed, since=since)
        holders = [peer_table.holder_of(ip_address(address).packed) for address in addresses]
        views.append([None if holder is None else holder.node for holder in holders])
    assert views == [views[0]] * 20


@pytest.mark.parametrize("address", ["8.8.8.8", "192.168.1.1", "10.86.0.0", "10.86.255.255", "10.87.0.1", "fd00::1"])
def test_nobody_can_claim_what_is_not_the_tunnel_s(peer_table: PeerTable, address: str) -> None:
    """Else a member could send with the inner source of a router or a name server."""
    announce(peer_table, ONE, "mallory", address)
    assert holder_of(peer_table, address) is None


def test_claims_are_looked_at_again_when_the_server_leases_from_another_prefix(peer_table: PeerTable) -> None:
    announce(peer_table, ONE, "laptop", "10.99.0.7")
    assert holder_of(peer_table, "10.99.0.7") is None
    peer_table.claim_own(("10.99.0.5/16",), 0.0)
    assert holder_of(peer_table, "10.99.0.7") is peer_table.at(ONE)


def test_nobody_is_found_under_another_s_id_or_address(peer_table: PeerTable) -> None:
    """A name is what somebody calls himself: it never stands for an id or an address."""
    bob = announce(peer_table, ONE, "bob", SHARED, present=False)
    announce(peer_table, TWO, str(ONE))
    announce(peer_table, NodeId(bytes([8]) * 16), SHARED)
    assert peer_table.find(str(ONE)) is cast("PeerConnection", bob)
    assert peer_table.find(SHARED) is cast("PeerConnection", bob)


def test_a_misspelled_name_brings_the_nearest_one(peer_table: PeerTable) -> None:
    announce(peer_table, ONE, "laptop")
    announce(peer_table, TWO, "phone")
    for wanted in ("LAPTOP", "Labtop"):
        with pytest.raises(PeerUnreachable, match="did you mean 'laptop'"):
            peer_table.find(wanted)
    with pytest.raises(PeerUnreachable, match="did you mean 'laptop'"):
        peer_table.find("lapto")


@pytest.mark.parametrize("wanted", ["desk", str(OWN), "10.86.0.5"])
def test_our_own_name_is_answered_as_such(peer_table: PeerTable, wanted: str) -> None:
    with pytest.raises(PeerUnreachable, match="is this node itself"):
        peer_table.find(wanted)
