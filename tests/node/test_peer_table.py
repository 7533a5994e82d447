"""Who is who: by id, by name, by address; and who holds an address that two claim."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast

import pytest

from tunnel.crypto.network_keys import tunnel_address6
from tunnel.model.announcement import Announcement, PeerCard
from tunnel.model.errors import PeerUnreachable
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.nat import NatReport
from tunnel.network.memory_store import MemoryStore
from tunnel.node.name_holders import NameHolders
from tunnel.node.peer_table import Directory

if TYPE_CHECKING:
    from tunnel.peer.connection import PeerConnection

NETWORK = NetworkId(bytes(16))
OWN, ONE, TWO = (NodeId(bytes([first]) * 16) for first in (5, 1, 9))
SHARED = "10.86.0.7"


@dataclass(eq=False)
class Known:
    """A peer, as far as a directory cares."""

    node: NodeId
    card: PeerCard | None = None
    is_present: bool = True
    can_carry: bool = False
    seq: int = field(default=0)
    name: str = ""

    def note_name(self, name: str) -> None:
        self.name = name


def fresh(store: MemoryStore | None = None) -> Directory:
    return Directory(NETWORK, OWN, "desk", NameHolders(store or MemoryStore(), NETWORK))


@pytest.fixture
def directory() -> Directory:
    directory = fresh()
    directory.claim_own(("10.86.0.5/16",), 0.0)
    return directory


def announce(
    directory: Directory, node: NodeId, name: str, *addresses: str, since: float = 0.0, present: bool = True
) -> Known:
    peer = cast("Known | None", directory.at(node))
    if peer is None:
        peer = Known(node)
        directory.add(cast("PeerConnection", peer))
    peer.seq += 1
    peer.is_present = present
    body = Announcement(name, bytes(32), addresses, (), NatReport(), claimed_since=since)
    peer.card = PeerCard(node.raw, bytes(16), peer.seq, body)
    directory.settle(peer.card)
    return peer


def holder_of(directory: Directory, address: str) -> object:
    return directory.holder_of(ip_address(address).packed)


def test_a_peer_is_found_by_id_by_name_and_by_address(directory: Directory) -> None:
    one = announce(directory, ONE, "laptop", SHARED)
    announce(directory, TWO, "phone", "10.86.0.8")
    for wanted in (str(ONE), "laptop", SHARED):
        assert directory.find(wanted) is cast("PeerConnection", one)


def test_a_peer_that_nobody_knows_is_an_error_that_names_the_others(directory: Directory) -> None:
    with pytest.raises(PeerUnreachable, match="nobody yet"):
        directory.find("laptop")
    announce(directory, ONE, "laptop")
    with pytest.raises(PeerUnreachable, match="known: laptop"):
        directory.find("phone")


def test_a_name_stands_for_the_first_node_that_bore_it_also_while_that_is_away(directory: Directory) -> None:
    """Any member can call itself anything, and what is meant for the laptop must not reach who only says so."""
    one = announce(directory, ONE, "laptop", present=False)
    two = announce(directory, TWO, "laptop")
    assert directory.find("laptop") is cast("PeerConnection", one)
    assert directory.find(str(TWO)) is cast("PeerConnection", two)
    assert (one.name, two.name) == ("laptop", "")


def test_two_nodes_of_one_name_are_in_the_notes_with_their_ids(directory: Directory) -> None:
    announce(directory, ONE, "laptop")
    two = announce(directory, TWO, "laptop")
    (note,) = directory.notes
    assert f"'laptop' is {ONE}" in note
    assert f"use its id ({TWO})" in note
    assert f"forget {ONE}" in note
    two.is_present = False
    assert not directory.notes


def test_of_many_nodes_with_one_name_a_note_shows_a_few(directory: Directory) -> None:
    """Keys cost a member nothing, and status must stay readable."""
    for number in range(50):
        announce(directory, NodeId(bytes([100 + number]) * 16), "laptop")
    (note,) = directory.notes
    assert "and 46 more" in note
    assert len(note) < 500


@pytest.mark.parametrize("twin", ["Laptop", "l\uff41ptop", "LAPTOP"])
def test_a_name_is_taken_in_whatever_case_and_width(directory: Directory, twin: str) -> None:
    """Nobody tells them apart at a glance."""
    announce(directory, ONE, "laptop")
    assert announce(directory, TWO, twin).name == ""


def test_a_name_outlives_the_process(directory: Directory) -> None:
    store = MemoryStore()
    holders = NameHolders(store, NETWORK)
    announce(Directory(NETWORK, OWN, "desk", holders), ONE, "laptop")
    holders.save()
    later = fresh(store)
    announce(later, TWO, "laptop")
    with pytest.raises(PeerUnreachable, match=f"'laptop' is {ONE}, .* use its id .{TWO}"):
        later.find("laptop")
    with pytest.raises(PeerUnreachable, match="no peer 'laptop' here; known: nobody yet"):
        directory.find("laptop")


def test_a_name_that_had_to_go_is_not_borne_on(directory: Directory) -> None:
    """Else two nodes would be found under it."""
    one = announce(directory, ONE, "laptop", present=False)
    assert not directory.is_present(ONE)
    directory.note_name_lost(ONE, "another")
    assert one.name == "laptop"
    directory.note_name_lost(ONE, "LAPTOP")
    assert one.name == ""


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
    unknown = f"'laptop' is {ONE}, of which nothing is known yet; the server, which tells who is here, is not reached"
    with pytest.raises(PeerUnreachable, match=unknown):
        fresh(store).find("laptop", is_told=False)
    with pytest.raises(PeerUnreachable, match=r"no peer 'shed' here; .* the server, .* is not reached"):
        fresh(store).find("shed", is_told=False)


def test_a_name_that_is_set_free_goes_to_the_present_node_that_bears_it(directory: Directory) -> None:
    """A laptop that was set up anew has a new key: its owner says that the old one is gone."""
    one = announce(directory, ONE, "laptop", present=False)
    two = announce(directory, TWO, "laptop")
    assert directory.resolve("laptop") == ONE
    assert directory.free_names(ONE) == ("laptop",)
    assert (one.name, two.name) == ("", "laptop")
    assert directory.find("laptop") is cast("PeerConnection", two)


def test_a_name_that_is_set_free_stays_with_who_alone_bears_it(directory: Directory) -> None:
    announce(directory, ONE, "laptop")
    directory.free_names(ONE)
    assert directory.find("laptop").node == ONE


@pytest.mark.parametrize("name", ["10.86.9.9", "fd00::9", "[fd00::9]:80", "a" * 26, "127.1", "\uff110.86.9.9"])
def test_who_calls_itself_like_an_address_or_an_id_is_shown_by_its_id(directory: Directory, name: str) -> None:
    peer = announce(directory, ONE, name)
    assert peer.name == ""
    with pytest.raises(PeerUnreachable, match=f"reads as an address or an id: use its id .{ONE}"):
        directory.find(name)
    assert directory.notes == (f"a node calls itself {name!r}, which reads as an address or an id: use its id ({ONE})",)


def test_a_peer_with_our_own_name_is_in_the_notes_until_it_leaves(directory: Directory) -> None:
    one = announce(directory, ONE, "desk")
    remedy = f"use its id ({ONE}), or start one of the two with another --name"
    assert directory.notes == (f"'desk' is this node; another calls itself so too: {remedy}",)
    with pytest.raises(PeerUnreachable, match="'desk' is this node"):
        directory.find("desk")
    one.is_present = False
    assert not directory.notes


@pytest.mark.parametrize("first", [ONE, TWO])
def test_of_two_claims_to_an_address_the_older_holds_whoever_comes_first(directory: Directory, first: NodeId) -> None:
    since = {ONE: 200.0, TWO: 100.0}
    for node in (first, ONE, TWO):
        announce(directory, node, f"node {node}", SHARED, since=since[node])
    assert holder_of(directory, SHARED) is directory.at(TWO)
    assert directory.notes == (f"address {SHARED} is claimed by 2 nodes; {TWO} holds it, being the older",)


def test_equal_claims_go_to_the_lower_id_on_every_node(directory: Directory) -> None:
    announce(directory, TWO, "two", SHARED)
    announce(directory, ONE, "one", SHARED)
    assert holder_of(directory, SHARED) is directory.at(ONE)


def test_what_we_hold_ourselves_is_no_peer_s(directory: Directory) -> None:
    directory.claim_own((f"{SHARED}/16",), 100.0)
    announce(directory, ONE, "one", SHARED, since=200.0)
    assert holder_of(directory, SHARED) is None
    assert directory.notes == (f"address {SHARED} is claimed by 2 nodes; {OWN} holds it, being the older",)
    announce(directory, TWO, "two", SHARED, since=50.0)
    assert holder_of(directory, SHARED) is directory.at(TWO)


def test_a_claim_that_is_given_up_goes_to_the_next(directory: Directory) -> None:
    announce(directory, ONE, "one", SHARED, since=100.0)
    announce(directory, TWO, "two", SHARED, since=200.0)
    announce(directory, ONE, "one", "10.86.0.8")
    assert holder_of(directory, SHARED) is directory.at(TWO)
    assert holder_of(directory, "10.86.0.8") is directory.at(ONE)
    assert directory.notes == ()


def test_an_ipv6_address_belongs_to_its_id_whatever_others_claim(directory: Directory) -> None:
    own6 = tunnel_address6(NETWORK, ONE)
    announce(directory, TWO, "two", own6)
    assert holder_of(directory, own6) is None
    announce(directory, ONE, "one", own6, since=1e9)
    assert holder_of(directory, own6) is directory.at(ONE)
    assert directory.notes == ()


def test_room_is_made_by_the_absent_and_unreached_only(directory: Directory) -> None:
    announce(directory, ONE, "one", SHARED, present=False).can_carry = True
    two = announce(directory, TWO, "two", "10.86.0.8")
    assert directory.evict() is None
    two.is_present = False
    assert directory.evict() is cast("PeerConnection", two)
    assert holder_of(directory, "10.86.0.8") is None
    assert len(directory) == 1


def test_claims_settle_alike_in_whatever_order_they_come() -> None:
    """Every node hears them in another order, and all must send a packet to the same one."""
    chance = random.Random(1)
    nodes = [NodeId(chance.randbytes(16)) for _ in range(6)]
    addresses = [f"10.86.0.{number}" for number in range(4)]
    final = {node: (chance.sample(addresses, 2), float(chance.randrange(3))) for node in nodes}
    views = []
    for _ in range(20):
        directory = fresh()
        for node in chance.choices(nodes, k=12):
            announce(directory, node, "x", *chance.sample(addresses, 3), since=float(chance.randrange(3)))
        for node in chance.sample(nodes, len(nodes)):
            claimed, since = final[node]
            announce(directory, node, "x", *claimed, since=since)
        holders = [directory.holder_of(ip_address(address).packed) for address in addresses]
        views.append([None if holder is None else holder.node for holder in holders])
    assert views == [views[0]] * 20


@pytest.mark.parametrize("address", ["8.8.8.8", "192.168.1.1", "10.86.0.0", "10.86.255.255", "10.87.0.1", "fd00::1"])
def test_nobody_can_claim_what_is_not_the_tunnel_s(directory: Directory, address: str) -> None:
    """Else a member could send with the inner source of a router or a name server."""
    announce(directory, ONE, "mallory", address)
    assert holder_of(directory, address) is None


def test_claims_are_looked_at_again_when_the_server_leases_from_another_prefix(directory: Directory) -> None:
    announce(directory, ONE, "laptop", "10.99.0.7")
    assert holder_of(directory, "10.99.0.7") is None
    directory.claim_own(("10.99.0.5/16",), 0.0)
    assert holder_of(directory, "10.99.0.7") is directory.at(ONE)


def test_nobody_is_found_under_another_s_id_or_address(directory: Directory) -> None:
    """A name is what somebody calls himself: it never stands for an id or an address."""
    bob = announce(directory, ONE, "bob", SHARED, present=False)
    announce(directory, TWO, str(ONE))
    announce(directory, NodeId(bytes([8]) * 16), SHARED)
    assert directory.find(str(ONE)) is cast("PeerConnection", bob)
    assert directory.find(SHARED) is cast("PeerConnection", bob)


def test_a_misspelt_name_brings_the_nearest_one(directory: Directory) -> None:
    announce(directory, ONE, "laptop")
    announce(directory, TWO, "phone")
    for wanted in ("LAPTOP", "Labtop"):
        with pytest.raises(PeerUnreachable, match="did you mean 'laptop'"):
            directory.find(wanted)
    with pytest.raises(PeerUnreachable, match="did you mean 'laptop'"):
        directory.find("lapto")


@pytest.mark.parametrize("wanted", ["desk", str(OWN), "10.86.0.5"])
def test_our_own_name_is_answered_as_such(directory: Directory, wanted: str) -> None:
    with pytest.raises(PeerUnreachable, match="is this node itself"):
        directory.find(wanted)
