"""Leases: stable, as wished where possible, bounded, and kept in a file that holds nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import DeviceError, Refused, SettingsError
from tunnel.model.identity import NetworkId, NodeId
from tunnel.server.registry import Lease, Registry

HOME = NetworkId(b"h" * 16)
WORK = NetworkId(b"w" * 16)
TINY = "10.0.0.0/29"  # six addresses


def node(number: int) -> NodeId:
    return NodeId(number.to_bytes(16, "big"))


def lease(
    registry: Registry,
    number: int,
    *,
    network: NetworkId = HOME,
    wanted: str = "",
    now: float = 1000.0,
    online: tuple[int, ...] = (),
) -> Lease:
    return registry.lease(network, node(number), wanted, now, lambda: [node(other) for other in online])


@pytest.fixture
def registry() -> Iterator[Registry]:
    with closing(Registry(None, "10.86.0.0/16")) as registry:
        yield registry


@pytest.fixture
def tiny() -> Iterator[Registry]:
    with closing(Registry(None, TINY)) as registry:
        yield registry


def test_a_node_gets_the_same_address_again(registry: Registry) -> None:
    first = lease(registry, 1)
    lease(registry, 2)
    assert lease(registry, 1, now=2000.0) == first
    assert first.since == 1000.0


def test_networks_do_not_share_their_pools(registry: Registry) -> None:
    assert lease(registry, 1, wanted="10.86.0.9").address == "10.86.0.9/16"
    assert lease(registry, 2, network=WORK, wanted="10.86.0.9").address == "10.86.0.9/16"


def test_a_wanted_address_is_given_if_it_is_free(registry: Registry) -> None:
    had = lease(registry, 1)
    wished = lease(registry, 1, wanted="10.86.3.4", now=2000.0)
    assert wished == Lease("10.86.3.4/16", 2000.0)
    assert wished != had
    assert lease(registry, 1, wanted="10.86.3.4/16", now=3000.0) == wished
    assert lease(registry, 1, now=4000.0) == wished, "no wish keeps what one has"


def test_a_wanted_address_that_another_node_has_is_not_given(registry: Registry) -> None:
    lease(registry, 1, wanted="10.86.3.4")
    other = lease(registry, 2, wanted="10.86.3.4")
    assert other.address != "10.86.3.4/16"
    assert lease(registry, 2, wanted="10.86.3.4") == other


@pytest.mark.parametrize(
    "wanted", ["10.86.0.0", "10.86.255.255", "10.87.0.1", "192.0.2.1", "::1", "junk", "10.86.0.300", "\x00", "1" * 400]
)
def test_a_wish_that_no_node_may_have_is_ignored(registry: Registry, wanted: str) -> None:
    assert lease(registry, 1, wanted=wanted) == lease(registry, 1)


def test_a_lost_file_costs_nobody_his_address(registry: Registry, tmp_path: Path) -> None:
    """The first place to look follows from the node id."""
    numbers = [number << 70 | number for number in range(1, 40)]
    before = {number: lease(registry, number).address for number in numbers}
    with closing(Registry(tmp_path / "new.sqlite", "10.86.0.0/16")) as fresh:
        assert {number: lease(fresh, number).address for number in reversed(numbers)} == before


def test_the_longest_unseen_lease_is_given_away_when_the_pool_is_full(tiny: Registry) -> None:
    addresses = [lease(tiny, number, now=1000.0 + number).address for number in range(6)]
    tiny.mark_seen([(HOME, node(0))], 5000.0)
    newcomer = lease(tiny, 7, now=6000.0, online=(2,))
    assert newcomer == Lease(addresses[1], 6000.0)
    assert lease(tiny, 0, now=6001.0).address == addresses[0]


def test_a_lease_of_a_node_that_is_online_is_never_given_away(tiny: Registry) -> None:
    for number in range(6):
        lease(tiny, number)
    with pytest.raises(Refused) as refusal:
        lease(tiny, 7, online=(0, 1, 2, 3, 4, 5))
    assert refusal.value.code == "no_address"
    assert len(tiny) == 6


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7)), max_size=40))
def test_no_two_nodes_have_the_same_address(steps: list[tuple[int, int]]) -> None:
    with closing(Registry(None, TINY)) as registry:
        held: dict[int, str] = {}
        for now, (number, wish) in enumerate(steps):
            given_out = lease(registry, number, wanted=f"10.0.0.{wish}", now=float(now)).address
            held = {other: address for other, address in held.items() if address != given_out}
            held[number] = given_out
            assert given_out.startswith("10.0.0.")
            assert 1 <= int(given_out.removeprefix("10.0.0.").removesuffix("/29")) <= 6
            assert len(registry) <= 6


def test_the_file_has_an_end() -> None:
    with closing(Registry(None, "10.86.0.0/16", max_leases=128)) as registry:
        for number in range(1000):
            lease(registry, number, network=NetworkId(number.to_bytes(16, "big")), now=float(number))
            assert len(registry) <= 128
        assert lease(registry, 999, network=NetworkId((999).to_bytes(16, "big")), now=9999.0).since == 999.0


def test_leases_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "registry.sqlite"
    with closing(Registry(path, "10.86.0.0/16")) as registry:
        first = lease(registry, 1, wanted="10.86.1.1")
    with closing(Registry(path, "10.86.0.0/16")) as registry:
        assert lease(registry, 1, now=2000.0) == first
    assert path.stat().st_mode & 0o777 == 0o600


def test_another_pool_gives_other_addresses_and_the_old_one_its_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    with closing(Registry(path, "10.86.0.0/16")) as registry:
        lease(registry, 1)
        kept = lease(registry, 2)
    with closing(Registry(path, "10.99.0.0/24")) as registry:
        assert lease(registry, 1).address.startswith("10.99.0.")
    with closing(Registry(path, "10.86.0.0/16")) as registry:
        assert lease(registry, 2) == kept


@pytest.mark.parametrize("pool", ["", "junk", "10.0.0.1/16", "10.0.0.0/31", "0.0.0.0/0", "fd00::/64"])
def test_a_pool_that_is_none_is_a_settings_error(pool: str) -> None:
    with pytest.raises(SettingsError, match="addresses"):
        Registry(None, pool)


def test_a_file_that_is_no_database_is_a_device_error(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    path.write_bytes(b"not a database, though long enough to be looked at" * 100)
    with pytest.raises(DeviceError, match="move the file away"):
        Registry(path, "10.86.0.0/16")


def test_a_file_of_a_later_version_is_a_device_error(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(DeviceError, match="another version"):
        Registry(path, "10.86.0.0/16")


def test_a_folder_that_cannot_be_written_is_a_device_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DeviceError):
        Registry(tmp_path / "file" / "registry.sqlite", "10.86.0.0/16")
