"""The tunnel's 10.86.0.0/16 where some of it is something else already: a LAN, the server, a resolver, a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.journeys.conftest import OpenLabPrograms, Pair
from tests.journeys.etc_files import etc_file

from tunnel.verify.netlab import SERVER_ADDRESSES, Host, Lab, SiteSpec
from tunnel.verify.netlab.programs import SERVER_PORT, LabPrograms
from tunnel.wire.invites import decode_invite, encode_invite

pytestmark = pytest.mark.netlab

INNER_SERVER = "10.86.77.1"
"""Where the server is too, as a company's may be that every site reaches by its router."""
RESOLVER = "10.86.88.53"


@pytest.fixture(scope="module")
def pair(open_lab_programs: OpenLabPrograms) -> Iterator[Pair]:
    """A desk whose LAN, server and resolver are in the tunnel's prefix, a laptop and a till elsewhere."""
    listen = f"{INNER_SERVER}:{SERVER_PORT}"
    lab, lab_programs = open_lab_programs(SiteSpec("home"), SiteSpec("office"), SiteSpec("shop"))
    lab.run(lab.server, ["ip", "address", "add", f"{INNER_SERVER}/32", "dev", "lo"])
    internet = Host("internet", lab.server.namespace.removesuffix("server") + "internet", "")
    lab.run(internet, ["ip", "route", "add", f"{INNER_SERVER}/32", "via", SERVER_ADDRESSES[0]])
    lab_programs.kill_server()
    lab_programs.start_server("--also-listen", listen)
    path = lab_programs.make_invite()
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
        lab_programs.start_node(home, "desk", "--address", "10.86.3.7")
        lab_programs.start_node(lab.sites["office"].host, "laptop", "--address", "10.86.5.5")
        lab_programs.start_node(lab.sites["shop"].host, "till", "--address", "10.86.1.20")
        lab_programs.wait_ready("desk", "laptop", "till")
        yield lab, lab_programs


def way_to(lab: Lab, host: Host, address: str) -> str:
    """The interface by which this host sends there."""
    words = lab.run(host, ["ip", "route", "get", address]).split()
    return words[words.index("dev") + 1]


def test_what_was_there_stays_in_reach_and_the_peers_are_too(pair: Pair) -> None:
    lab, lab_programs = pair
    desk = lab_programs.nodes["desk"]
    assert len(lab_programs.start_ping("desk", "laptop", count=10).finish().answers) >= 9
    assert way_to(lab, desk.host, "10.86.5.5") == desk.tun
    assert way_to(lab, desk.host, "10.86.1.20") == way_to(lab, desk.host, "10.86.1.99") == "lan"
    for address in (INNER_SERVER, RESOLVER, "10.86.200.200"):
        assert way_to(lab, desk.host, address) == "eth0"
    assert lab_programs.status("desk")["server"]["state"] == "registered"


def test_it_is_told_by_status_why_and_the_log_with_the_remedy(pair: Pair) -> None:
    lab_programs = pair[1]
    shown = " ".join(lab_programs.command("desk", "status").split())
    for clash in (f"the server {INNER_SERVER}", f"the DNS resolver {RESOLVER}", "10.86.1.0/24 on lan", "--addresses"):
        assert clash in shown
        assert clash in lab_programs.log("desk")
    assert "reached from here only by IPv6: till" in shown
    why = " ".join(lab_programs.command("desk", "why", "till").split())
    assert "reached from this machine only by IPv6: 10.86.1.20 is in 10.86.1.0/24 on lan" in why
    assert "only by IPv6" not in lab_programs.command("desk", "why", "laptop")


def test_a_start_with_the_lease_of_last_time_finds_its_server_again(pair: Pair) -> None:
    lab, lab_programs = pair
    lab_programs.stop_node("desk")
    lab_programs.start_node(lab.sites["home"].host, "desk", "--address", "10.86.3.7")
    lab_programs.wait_ready("desk", "laptop")
    assert len(lab_programs.start_ping("desk", "laptop", count=10).finish().answers) >= 9


def test_a_lan_that_comes_while_the_node_runs_takes_no_packet_from_the_tunnel(pair: Pair) -> None:
    """Anybody on a LAN may answer DHCP. The kernel heeds the narrowest route at once, before a node can notice it."""
    lab, lab_programs = pair
    desk = lab_programs.nodes["desk"]
    for address in ("10.86.3.1/24", "10.86.5.1/24"):
        lab.run(desk.host, ["ip", "address", "add", address, "dev", "lan"])
    assert way_to(lab, desk.host, "10.86.5.5") == desk.tun
    lab_programs.wait_status("desk", lambda status: "10.86.5.0/24 on lan" in " ".join(status["node"]["notes"]), "told")
    assert way_to(lab, desk.host, "10.86.5.5") == desk.tun
    assert way_to(lab, desk.host, "10.86.5.6") == "lan"
    assert len(lab_programs.start_ping("desk", "laptop", count=10).finish().answers) >= 9
    status = lab_programs.status("desk")
    assert len(status["node"]["addresses"]) == 2
    assert "10.86.3.7, which is this node's, and in 10.86.3.0/24 on lan" in " ".join(status["node"]["notes"])
    why = " ".join(lab_programs.command("desk", "why", "laptop").split())
    assert "10.86.5.5 is still routed into the tunnel, though it is in 10.86.5.0/24 on lan" in why
    lab.run(desk.host, ["ip", "address", "del", "10.86.5.1/24", "dev", "lan"])


def test_a_lan_that_has_our_own_address_at_the_start_leaves_the_node_ipv6_and_gives_it_back_when_it_goes(
    pair: Pair,
) -> None:
    lab, lab_programs = pair
    lab_programs.stop_node("desk")
    lab_programs.start_node(lab.sites["home"].host, "desk", "--address", "10.86.3.7")
    desk, laptop = lab_programs.nodes["desk"], lab_programs.nodes["laptop"]
    status = lab_programs.wait_status("desk", lambda status: len(status["node"]["addresses"]) == 1, "without IPv4")
    assert any(
        "no IPv4 in the tunnel on this machine: our address 10.86.3.7 is in 10.86.3.0/24 on lan" in note
        for note in status["node"]["notes"]
    )
    assert way_to(lab, desk.host, "10.86.3.7") == "lan"
    lab_programs.wait_peer("laptop", "desk", lambda entry: len(entry["addresses"]) == 1, "told of the loss")
    own6 = lab_programs.status("desk")["node"]["addresses"][0]
    assert " 0% packet loss" in lab.run(laptop.host, ["ping", "-6", "-c", "3", "-i", "0.2", "-W", "2", own6])
    lab.run(desk.host, ["ip", "address", "del", "10.86.3.1/24", "dev", "lan"])
    lab_programs.wait_status("desk", lambda status: len(status["node"]["addresses"]) == 2, "with IPv4 again")
    lab_programs.wait_peer("laptop", "desk", lambda entry: len(entry["addresses"]) == 2, "told of it")
    assert len(lab_programs.start_ping("desk", "laptop", count=10).finish().answers) >= 9


def test_whoever_answers_dns_takes_no_peer_s_packets_from_the_tunnel(open_lab_programs: OpenLabPrograms) -> None:
    """The answer for the server's name holds a peer's tunnel address beside the true one, and the link is cut."""
    lab, lab_programs = open_lab_programs(SiteSpec("home"), SiteSpec("office"))
    home = lab.sites["home"].host
    path = lab_programs.make_invite()
    invite = decode_invite(path.read_text())
    true = f"{SERVER_ADDRESSES[0]} rendezvous.test\n"
    with etc_file(home, "hosts", true) as hosts:
        lab_programs.start_node(lab.sites["office"].host, "laptop")
        lab_programs.wait_status("laptop", lambda status: status["server"]["state"] == "registered", "registered")
        path.write_text(encode_invite(replace(invite, server=f"wss://rendezvous.test:{SERVER_PORT}")))
        lab_programs.start_node(home, "desk")
        lab_programs.wait_ready("desk", "laptop")
        desk, theirs = lab_programs.nodes["desk"], lab_programs.address("laptop")
        hosts.write_text(f"{theirs} rendezvous.test\n{true}")
        lab_programs.kill_server()
        lab_programs.start_server()
        told = f"leads to {theirs}, which is laptop's in the tunnel: not dialed"
        lab_programs.wait_status(
            "desk",
            lambda status: status["server"]["state"] == "registered" and told in " ".join(status["node"]["notes"]),
            "registered again, and told",
        )
        assert way_to(lab, home, theirs) == desk.tun
        assert len(lab_programs.start_ping("desk", "laptop", count=10).finish().answers) >= 9


def test_two_networks_of_one_prefix_live_on_one_machine(open_lab_programs: OpenLabPrograms) -> None:
    """Each with the default prefix of the server, as two people would set them up."""
    lab, first = open_lab_programs(SiteSpec("office"), SiteSpec("shop"))
    office, shop = lab.sites["office"].host, lab.sites["shop"].host
    first.start_node(office, "laptop")
    first.start_node(shop, "till")
    first.wait_ready("laptop", "till")
    assert way_to(lab, office, "10.86.222.222") == first.nodes["laptop"].tun
    (first.folder / "second").mkdir()
    with LabPrograms(lab, first.folder / "second") as second:
        second._ready = first._ready
        second.start_node(office, "work-laptop")
        second.start_node(shop, "work-till")
        second.wait_ready("work-laptop", "work-till")
        for lab_programs, one, other in (
            (second, "work-laptop", "work-till"),
            (second, "work-till", "work-laptop"),
            (first, "laptop", "till"),
            (first, "till", "laptop"),
        ):
            assert len(lab_programs.start_ping(one, other, count=10).finish().answers) >= 9, one
        for lab_programs, one, other in ((first, "laptop", "till"), (second, "work-laptop", "work-till")):
            assert way_to(lab, office, lab_programs.address(other)) == lab_programs.nodes[one].tun
            lab_programs.wait_status(
                one,
                lambda status: any("are in use elsewhere on this machine" in note for note in status["node"]["notes"]),
                "told of the other network",
            )
    first.wait_status("laptop", lambda status: not status["node"]["notes"], "alone again")
    assert way_to(lab, office, "10.86.222.222") == first.nodes["laptop"].tun
