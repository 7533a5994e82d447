"""Rates and slots hold, and their tables have an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.identity import ID_BYTES, NetworkId
from tunnel.model.rates import RateTable, TokenBucket
from tunnel.model.settings import ServerSettings
from tunnel.server.limits import (
    LATELY,
    SILENT,
    SPARE_DESCRIPTORS,
    ConnectRates,
    Slot,
    Slots,
    fit_connections,
    source_of,
    sources_of,
)


def test_a_bucket_gives_its_burst_at_once_and_its_rate_after_that() -> None:
    bucket = TokenBucket(rate=2.0, burst=3.0, now=100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(100.5), bucket.take(100.5)] == [True, False]
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_runs_backwards_gives_nothing() -> None:
    bucket = TokenBucket(rate=1.0, burst=1.0, now=100.0)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(100.5)
    assert bucket.take(101.0)


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 20.0)), max_size=60))
def test_a_bucket_never_gives_more_than_burst_and_rate_allow(steps: list[tuple[float, float]]) -> None:
    bucket, now, given_away = TokenBucket(rate=5.0, burst=10.0, now=0.0), 0.0, 0.0
    for wait, amount in steps:
        now += wait
        if bucket.take(now, amount):
            given_away += amount
        assert given_away <= 10.0 + 5.0 * now + 1e-6


def test_each_key_has_a_bucket_of_its_own() -> None:
    table = RateTable(rate=1.0, burst=1.0)
    assert [table.take("a", 0.0), table.take("a", 0.0), table.take("b", 0.0)] == [True, False, True]


def test_a_full_table_forgets_the_key_that_was_unused_for_longest() -> None:
    table = RateTable(rate=1.0, burst=1.0, size=2)
    table.take("old", 0.0)
    table.take("used", 0.0)
    table.take("old", 0.0)
    table.take("new", 0.0)
    assert len(table) == 2
    assert not table.take("old", 0.0), "it was used after `used` was"
    assert table.take("used", 0.0), "it was forgotten"


class Server:
    """Slots, and the names of those who had to go."""

    def __init__(self, *, strangers: int = 9, members: int = 9, each: int = 9, each_members: int = 9) -> None:
        self.slots = Slots(strangers=strangers, members=members, each_strangers=each, each_members=each_members)
        self.gone: list[str] = []

    def take(self, name: str, host: str = "192.0.2.1") -> Slot | None:
        return self.slots.take(sources_of(host), lambda: self.gone.append(name))

    def admit(self, slot: Slot, network: int = 1, *, returns: bool = False) -> str | None:
        network_id = NetworkId(network.to_bytes(ID_BYTES, "big"))
        return self.slots.admit(slot, network_id, lambda code: self.gone.append(f"{network}: {code}"), returns=returns)

    def fill(self, host: str, count: int, network: int = 1) -> list[str | None]:
        """What so many nodes of one network hear that come from there."""
        return [self.admit(self.take_one("x", host), network) for _ in range(count)]

    def take_one(self, name: str, host: str = "192.0.2.1") -> Slot:
        slot = self.take(name, host)
        assert slot is not None
        return slot


def test_one_source_has_so_many_strangers_and_members_hold_none_of_their_places() -> None:
    """Else the 65th node of an office never came in: the others held all that one address may have."""
    server = Server(each=2)
    for number in range(5):
        assert server.admit(server.take_one(f"node {number}")) is None
    server.take_one("a")
    first = server.take_one("b")
    server.slots.give_back(first)
    assert server.take("c") is not None
    assert server.take("d", "192.0.2.2") is not None
    assert server.gone == []
    assert server.slots.held == 8


def test_the_newest_stranger_of_a_source_takes_the_place_of_its_oldest() -> None:
    """Else one who says nothing on as many connections as an address may have keeps its honest nodes out."""
    server = Server(each=2)
    server.take_one("other", "192.0.2.2")
    for name in "abc":
        server.take_one(name)
    assert server.gone == ["a"]


def test_of_a_full_address_the_network_with_most_links_gives_way() -> None:
    """One stranger with nodes of his own network would else keep an office out that has the same public address."""
    server = Server(members=99, strangers=99, each=99, each_members=16)
    assert server.fill("192.0.2.1", 16) == [None] * 16
    assert server.fill("192.0.2.1", 1) == ["address_full"]
    assert server.fill("192.0.2.1", 10, network=2) == [None] * 8 + ["address_full"] * 2
    assert server.gone == ["1: address_full"] * 8


def test_networks_without_end_take_no_places_of_an_office_beyond_what_an_eighth_leaves() -> None:
    """Networks cost nothing: whoever shares an office's address would else drive it out with one node of each."""
    server = Server(members=99, strangers=99, each=99, each_members=16)
    assert server.fill("192.0.2.1", 3) == [None] * 3
    for network in range(2, 40):
        server.fill("192.0.2.1", 1, network)
    assert len(server.gone) == 1, "it had one more than its eighth"


def test_of_a_full_server_the_address_with_most_links_gives_way() -> None:
    """Eight addresses, or two IPv6 sites, would else fill it for everybody."""
    server = Server(members=32, strangers=99, each=99, each_members=16)
    server.fill("192.0.2.1", 16)
    server.fill("192.0.2.2", 16)
    assert server.fill("192.0.2.3", 3, network=3) == [None] * 3
    assert server.gone == ["1: server_full"] * 3


def test_a_member_that_gave_way_is_counted_once() -> None:
    server = Server(members=2)
    first = [server.take_one("m", "192.0.2.1") for _ in range(2)]
    assert [server.admit(slot) for slot in first] == [None, None]
    other = server.take_one("o", "192.0.2.2")
    assert server.admit(other) is None
    for slot in (*first, other):
        server.slots.give_back(slot)
    assert server.slots.held == 0
    assert server.fill("192.0.2.1", 3) == [None, None, "server_full"]


def test_an_ipv6_site_has_no_more_members_than_an_ipv4_address() -> None:
    server = Server(members=99, strangers=99, each=99, each_members=4)
    heard = [server.admit(server.take_one("x", f"2001:db8:1:{number}::1")) for number in range(5)]
    assert heard == [None] * 4 + ["address_full"]


def test_one_source_has_so_many_members_and_a_reason_for_those_who_are_not() -> None:
    server = Server(each_members=2)
    first, second, third = (server.take_one(name) for name in ("a", "b", "c"))
    assert (server.admit(first), server.admit(second)) == (None, None)
    assert server.admit(third) == "address_full"
    assert server.admit(server.take_one("d", "192.0.2.2")) is None
    server.slots.give_back(first)
    assert server.admit(third) is None


def test_a_node_that_comes_back_takes_the_place_of_its_older_link() -> None:
    """A server, or an address, that is full would else keep it out until the dead link is noticed."""
    server = Server(members=1, each_members=1)
    old, new = server.take_one("old"), server.take_one("new")
    assert server.admit(old) is None
    assert server.admit(new, returns=True) is None
    server.slots.give_back(old)
    assert server.admit(server.take_one("other", "192.0.2.2")) == "server_full"
    server.slots.give_back(new)
    assert server.slots.held == 1


def test_the_subnets_of_one_ipv6_site_hold_four_times_as_many_together() -> None:
    server = Server(each=1)
    let_in = [server.take("x", f"2001:db8:1:{number}::1") is not None for number in range(6)]
    assert let_in == [True] * 4 + [False] * 2
    assert server.take("y", "2001:db8:2::1") is not None


def test_a_newcomer_takes_the_place_of_the_oldest_of_the_greatest_crowd() -> None:
    server = Server(strangers=4)
    lonely = server.take_one("lonely", "192.0.2.9")
    crowd = [server.take_one(f"crowd {number}") for number in range(3)]
    server.take_one("newcomer", "192.0.2.10")
    assert server.gone == ["crowd 0"]
    server.slots.give_back(crowd[0])
    assert server.slots.held == 4
    assert server.admit(lonely) is None
    assert server.take("another", "192.0.2.11") is not None
    assert server.gone == ["crowd 0"], "a member holds no place of strangers"
    assert server.slots.dropped == 1


def test_strangers_never_take_a_member_s_place() -> None:
    server = Server(strangers=1, members=2)
    members = [server.take_one("m", f"192.0.2.{number}") for number in range(2)]
    assert server.gone == ["m"]
    assert server.admit(members[1]) is None
    server.slots.give_back(members[0])
    for number in range(5):
        server.take_one(f"s{number}")
    assert server.gone == ["m", "s0", "s1", "s2", "s3"]


def test_there_are_so_many_members_and_no_more() -> None:
    server = Server(members=1)
    first, second = server.take_one("a"), server.take_one("b")
    assert server.admit(first) is None
    assert server.admit(second) == "server_full"
    server.slots.give_back(first)
    assert server.admit(second) is None
    server.slots.give_back(second)
    assert server.slots.held == 0


def test_a_source_speaks_in_a_burst_and_then_at_its_rate() -> None:
    rates = ConnectRates(rate=1.0, burst=2.0)
    sources = sources_of("192.0.2.1")
    assert [rates.may_speak(sources, 0.0) for _ in range(3)] == [True, True, False]
    assert rates.may_speak(sources, 1.0)
    site = [rates.may_speak(sources_of(f"2001:db8:1:{number}::1"), 0.0) for number in range(10)]
    assert site == [True] * 8 + [False] * 2


def test_who_connects_and_says_nothing_takes_no_turn_of_those_who_speak() -> None:
    """He may be behind the same address as an office."""
    rates = ConnectRates(rate=1.0, burst=2.0)
    sources = sources_of("192.0.2.1")
    assert [rates.may_connect(sources, 0.0) for _ in range(40)] == [True] * 2 * SILENT + [False] * (40 - 2 * SILENT)
    assert rates.may_speak(sources, 0.0)


def test_a_source_that_registers_nodes_has_a_reserve() -> None:
    rates = ConnectRates(rate=1.0, burst=2.0)
    sources = sources_of("192.0.2.1")
    rates.note_registered(sources, 0.0)
    assert [rates.may_speak(sources, 0.0) for _ in range(5)] == [True] * 4 + [False]
    assert [rates.may_speak(sources, LATELY + 1.0) for _ in range(3)] == [True, True, False]


def test_connections_are_fitted_to_the_open_files_that_the_system_allows(caplog: pytest.LogCaptureFixture) -> None:
    settings = ServerSettings()
    assert fit_connections(settings, 1 << 20) is settings
    assert not caplog.records
    fitted = fit_connections(settings, 1024)
    assert fitted.max_connections + fitted.max_strangers == 1024 - SPARE_DESCRIPTORS
    assert fitted.max_strangers > 100
    assert "open files" in caplog.text


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_subnet(host: str, source: str) -> None:
    assert source_of(host) == source
