"""The tunnel's 10.86.0.0/16 where some of it is something else already: a LAN, the server, a resolver, a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.journeys.conftest import OpenHousehold, Pair
from tests.journeys.etc_files import etc_file

from tunnel.verify.netlab import SERVER_ADDRESSES, Host, Lab, SiteSpec
from tunnel.verify.netlab.programs import SERVER_PORT, Household
from tunnel.wire.invites import decode_invite, encode_invite

pytestmark = pytest.mark.netlab

INNER_SERVER = "10.86.77.1"
"""Where the server is too, as a company's may be that every site reaches by its router."""
RESOLVER = "10.86.88.53"


@pytest.fixture(scope="module")
def pair(open_household: OpenHousehold) -> Iterator[Pair]:
    """A desk whose LAN, server and resolver are in the tunnel's prefix, a laptop and a till elsewhere."""
    listen = f"{INNER_SERVER}:{SERVER_PORT}"
    lab, household = open_household(SiteSpec("home"), SiteSpec("office"), SiteSpec("shop"))
    lab.run(lab.server, ["ip", "address", "add", f"{INNER_SERVER}/32", "dev", "lo"])
    internet = Host("internet", lab.server.namespace.removesuffix("server") + "internet", "")
    lab.run(internet, ["ip", "route", "add", f"{INNER_SERVER}/32", "via", SERVER_ADDRESSES[0]])
    household.kill_server()
    household.start_server("--also-listen", listen)
    path = household.make_invite()
    path.write_text(encode_invite(replace(decode_invite(path.read_text()), server=f"wss://{listen}")))
    home = lab.sites["home"].host
    for words in (
        "link add lan type veth peer name other",
        "link set lan up",
        "link set other up",
        "address add 10.86.1.2/24 dev lan",
    ):
        lab.run(home, ["ip", *words.split()])
    with etc_file(home, "resolv.conf", f"nameserver {RESOLVER}\n"):
        household.start_node(home, "desk", "--address", "10.86.3.7")
        household.start_node(lab.sites["office"].host, "laptop", "--address", "10.86.5.5")
        household.start_node(lab.sites["shop"].host, "till", "--address", "10.86.1.20")
        household.wait_ready("desk", "laptop", "till")
        yield lab, household


def way_to(lab: Lab, host: Host, address: str) -> str:
    """The interface by which this host sends there."""
    words = lab.run(host, ["ip", "route", "get", address]).split()
    return words[words.index("dev") + 1]


def test_what_was_there_stays_in_reach_and_the_peers_are_too(pair: Pair) -> None:
    lab, household = pair
    desk = household.nodes["desk"]
    assert len(household.start_ping("desk", "laptop", count=10).finish().answers) >= 9
    assert way_to(lab, desk.host, "10.86.5.5") == desk.tun
    assert way_to(lab, desk.host, "10.86.1.20") == way_to(lab, desk.host, "10.86.1.99") == "lan"
    for address in (INNER_SERVER, RESOLVER, "10.86.200.200"):
        assert way_to(lab, desk.host, address) == "eth0"
    assert household.status("desk")["server"]["state"] == "registered"


def test_it_is_told_by_status_why_and_the_log_with_the_remedy(pair: Pair) -> None:
    household = pair[1]
    shown = " ".join(household.command("desk", "status").split())
    for clash in (f"the server {INNER_SERVER}", f"the DNS resolver {RESOLVER}", "10.86.1.0/24 on lan", "--addresses"):
        assert clash in shown
        assert clash in household.log("desk")
    assert "till by IPv6 alone" in shown
    why = " ".join(household.command("desk", "why", "till").split())
    assert "by IPv6 alone from this machine: 10.86.1.20 is in 10.86.1.0/24 on lan" in why
    assert "IPv6 alone" not in household.command("desk", "why", "laptop")


def test_a_start_with_the_lease_of_last_time_finds_its_server_again(pair: Pair) -> None:
    lab, household = pair
    household.stop_node("desk")
    household.start_node(lab.sites["home"].host, "desk", "--address", "10.86.3.7")
    household.wait_ready("desk", "laptop")
    assert len(household.start_ping("desk", "laptop", count=10).finish().answers) >= 9


def test_a_lan_that_comes_while_the_node_runs_takes_no_packet_from_the_tunnel(pair: Pair) -> None:
    """Anybody on a LAN may answer DHCP. The kernel heeds the narrowest route at once, before a node can notice it."""
    lab, household = pair
    desk = household.nodes["desk"]
    for address in ("10.86.3.1/24", "10.86.5.1/24"):
        lab.run(desk.host, ["ip", "address", "add", address, "dev", "lan"])
    assert way_to(lab, desk.host, "10.86.5.5") == desk.tun
    household.wait_status("desk", lambda status: "10.86.5.0/24 on lan" in " ".join(status["node"]["notes"]), "told")
    assert way_to(lab, desk.host, "10.86.5.5") == desk.tun
    assert way_to(lab, desk.host, "10.86.5.6") == "lan"
    assert len(household.start_ping("desk", "laptop", count=10).finish().answers) >= 9
    status = household.status("desk")
    assert len(status["node"]["addresses"]) == 2
    assert "10.86.3.7 is this node's, and in 10.86.3.0/24 on lan" in " ".join(status["node"]["notes"])
    why = " ".join(household.command("desk", "why", "laptop").split())
    assert "10.86.5.5 leads into the tunnel still, though it is in 10.86.5.0/24 on lan" in why
    lab.run(desk.host, ["ip", "address", "del", "10.86.5.1/24", "dev", "lan"])


def test_a_lan_that_has_our_own_address_at_the_start_leaves_the_node_ipv6_and_gives_it_back_when_it_goes(
    pair: Pair,
) -> None:
    lab, household = pair
    household.stop_node("desk")
    household.start_node(lab.sites["home"].host, "desk", "--address", "10.86.3.7")
    desk, laptop = household.nodes["desk"], household.nodes["laptop"]
    status = household.wait_status("desk", lambda status: len(status["node"]["addresses"]) == 1, "without IPv4")
    assert any(
        "no IPv4 in the tunnel here: its address 10.86.3.7 is in 10.86.3.0/24 on lan" in note
        for note in status["node"]["notes"]
    )
    assert way_to(lab, desk.host, "10.86.3.7") == "lan"
    household.wait_peer("laptop", "desk", lambda entry: len(entry["addresses"]) == 1, "told of the loss")
    own6 = household.status("desk")["node"]["addresses"][0]
    assert " 0% packet loss" in lab.run(laptop.host, ["ping", "-6", "-c", "3", "-i", "0.2", "-W", "2", own6])
    lab.run(desk.host, ["ip", "address", "del", "10.86.3.1/24", "dev", "lan"])
    household.wait_status("desk", lambda status: len(status["node"]["addresses"]) == 2, "with IPv4 again")
    household.wait_peer("laptop", "desk", lambda entry: len(entry["addresses"]) == 2, "told of it")
    assert len(household.start_ping("desk", "laptop", count=10).finish().answers) >= 9


def test_whoever_answers_dns_takes_no_peer_s_packets_from_the_tunnel(open_household: OpenHousehold) -> None:
    """The answer for the server's name holds a peer's tunnel address beside the true one, and the link is cut."""
    lab, household = open_household(SiteSpec("home"), SiteSpec("office"))
    home = lab.sites["home"].host
    path = household.make_invite()
    invite = decode_invite(path.read_text())
    true = f"{SERVER_ADDRESSES[0]} rendezvous.test\n"
    with etc_file(home, "hosts", true) as hosts:
        household.start_node(lab.sites["office"].host, "laptop")
        household.wait_status("laptop", lambda status: status["server"]["state"] == "registered", "registered")
        path.write_text(encode_invite(replace(invite, server=f"wss://rendezvous.test:{SERVER_PORT}")))
        household.start_node(home, "desk")
        household.wait_ready("desk", "laptop")
        desk, theirs = household.nodes["desk"], household.address("laptop")
        hosts.write_text(f"{theirs} rendezvous.test\n{true}")
        household.kill_server()
        household.start_server()
        told = f"leads to {theirs}, which is laptop's in the tunnel: not dialled"
        household.wait_status(
            "desk",
            lambda status: status["server"]["state"] == "registered" and told in " ".join(status["node"]["notes"]),
            "registered again, and told",
        )
        assert way_to(lab, home, theirs) == desk.tun
        assert len(household.start_ping("desk", "laptop", count=10).finish().answers) >= 9


def test_two_networks_of_one_prefix_live_on_one_machine(open_household: OpenHousehold) -> None:
    """Each with the default prefix of the server, as two people would set them up."""
    lab, first = open_household(SiteSpec("office"), SiteSpec("shop"))
    office, shop = lab.sites["office"].host, lab.sites["shop"].host
    first.start_node(office, "laptop")
    first.start_node(shop, "till")
    first.wait_ready("laptop", "till")
    assert way_to(lab, office, "10.86.222.222") == first.nodes["laptop"].tun
    (first.folder / "second").mkdir()
    with Household(lab, first.folder / "second") as second:
        second._ready = first._ready
        second.start_node(office, "work-laptop")
        second.start_node(shop, "work-till")
        second.wait_ready("work-laptop", "work-till")
        for household, one, other in (
            (second, "work-laptop", "work-till"),
            (second, "work-till", "work-laptop"),
            (first, "laptop", "till"),
            (first, "till", "laptop"),
        ):
            assert len(household.start_ping(one, other, count=10).finish().answers) >= 9, one
        for household, one, other in ((first, "laptop", "till"), (second, "work-laptop", "work-till")):
            assert way_to(lab, office, household.address(other)) == household.nodes[one].tun
            household.wait_status(
                one,
                lambda status: any(
                    "has addresses that this machine has elsewhere" in note for note in status["node"]["notes"]
                ),
                "told of the other network",
            )
    first.wait_status("laptop", lambda status: not status["node"]["notes"], "alone again")
    assert way_to(lab, office, "10.86.222.222") == first.nodes["laptop"].tun
