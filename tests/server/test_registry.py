"""Leases: stable, as wished where possible, bounded, and kept in a file that holds nothing else."""

from __future__ import annotations

import logging
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import DeviceError, Refused, SettingsError
from tunnel.model.identity import NetworkId, NodeId
from tunnel.server.registry import RESIDENT, Lease, Registry

HOME = NetworkId(b"h" * 16)
WORK = NetworkId(b"w" * 16)
TINY = "10.0.0.0/29"  # six addresses


@contextmanager
def full_disk(most: int = 0) -> Iterator[None]:
    """No file of this process can be written meanwhile: what the kernel says is not the same word, but as early."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def spacious_disk() -> AbstractContextManager[None]:
    """Within `full_disk`: somebody has made room."""
    return full_disk(resource.RLIM_INFINITY)


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


def test_ids_that_came_once_do_not_drive_out_those_who_come_every_day() -> None:
    with closing(Registry(None, "10.86.0.0/16", max_leases=128)) as registry:
        resident = lease(registry, 1, now=0.0)
        registry.mark_seen([(HOME, node(1))], RESIDENT + 1.0)
        for number in range(2, 1000):
            lease(registry, number, network=NetworkId(number.to_bytes(16, "big")), now=RESIDENT + number)
        assert lease(registry, 1, now=9 * RESIDENT) == resident
        assert len(registry) == 128


def test_a_network_has_so_many_leases_and_those_online_keep_theirs() -> None:
    with closing(Registry(None, "10.86.0.0/16", max_leases_per_network=16)) as registry:
        other = lease(registry, 0, network=WORK)
        kept = lease(registry, 1, now=1.0)
        for number in range(2, 100):
            lease(registry, number, now=float(number), online=(1,))
            assert len(registry) <= 16 + 1
        assert lease(registry, 1, now=200.0) == kept
        assert lease(registry, 0, network=WORK, now=200.0) == other, "no network takes from another"


def test_a_refused_lease_changes_nothing(tiny: Registry) -> None:
    for number in range(6):
        lease(tiny, number)
    with pytest.raises(Refused):
        lease(tiny, 7, online=tuple(range(6)))
    assert len(tiny) == 6


@pytest.mark.parametrize("full", ["network", "pool", "file"])
def test_a_registration_costs_little_however_full_everything_is(full: str, tmp_path: Path) -> None:
    """The whole server stands still meanwhile. Counted in steps of SQLite's machine, each well below a microsecond."""
    each = 1024 if full == "pool" else 4096
    pool, most = ("10.86.0.0/22", 8192) if full == "pool" else ("10.86.0.0/16", 4096)
    path = tmp_path / "registry.sqlite"
    Registry(path, pool).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN")
        first = 0x0A560001
        rows = [(HOME.raw, node(1 << 40 | n).raw, first + n, 1.0, float(n)) for n in range(each - 2)]
        if full == "file":
            rows = [(n.to_bytes(16, "big"), node(n).raw, first, 1.0, float(n)) for n in range(20_000)]
        database.executemany("INSERT INTO lease VALUES (?, ?, ?, ?, ?)", rows)
        database.execute("COMMIT")
    most_rows = 20_000 if full == "file" else 1 << 20
    with closing(Registry(path, pool, max_leases=most_rows, max_leases_per_network=most)) as registry:
        for number in range(8):
            lease(registry, number, now=1e6)
        steps = 0

        def count() -> None:
            nonlocal steps
            steps += 1000

        registry._database.set_progress_handler(count, 1000)
        for number in range(8, 16):
            lease(registry, number, now=1e6, online=tuple(range(8)))
        assert steps / 8 < 40_000
        assert len(registry) <= most_rows


def test_a_file_with_more_than_a_network_may_have_is_trimmed_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    with closing(Registry(path, "10.86.0.0/16")) as registry:
        for number in range(40):
            lease(registry, number, now=float(number))
        lease(registry, 1, network=WORK)
    with closing(Registry(path, "10.86.0.0/16", max_leases_per_network=10)) as registry:
        assert len(registry) == 11
        assert lease(registry, 39, now=99.0).since == 39.0


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


def test_on_a_full_disk_nodes_come_and_go_as_before_and_all_is_written_down_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A server whose disk filled up in the night turned away whoever had registered a hundred times before."""
    caplog.set_level(logging.INFO)
    path = tmp_path / "registry.sqlite"
    with closing(Registry(path, "10.86.0.0/16")) as registry:
        known = lease(registry, 1, wanted="10.86.1.1")
        lease(registry, 2)
        with full_disk():
            assert lease(registry, 1, now=2000.0) == known
            new = lease(registry, 3, wanted="10.86.3.3", now=2000.0)
            assert new.address == "10.86.3.3/16"
            registry.mark_seen([(HOME, node(2))], 2000.0)
            for _ in range(5):
                registry.write_down()
            assert registry.unwritten == 3
        assert [record.levelname for record in caplog.records] == ["WARNING"], "it is told once"
        registry.write_down()
        assert registry.unwritten == 0
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"], "and that it is over"
    with closing(Registry(path, "10.86.0.0/16")) as registry:
        assert lease(registry, 3, now=3000.0) == new
        assert len(registry) == 3


def test_a_server_starts_on_a_full_disk_and_knows_its_nodes(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    with closing(Registry(path, "10.86.0.0/16")) as registry:
        known = lease(registry, 1, wanted="10.86.1.1")
    with full_disk(), closing(Registry(path, "10.86.0.0/16")) as registry:
        assert lease(registry, 1, now=2000.0) == known
        lease(registry, 2, wanted="10.86.2.2")
        with spacious_disk():
            registry.write_down()
    with closing(Registry(path, "10.86.0.0/16")) as registry:
        assert len(registry) == 2


def test_a_server_starts_on_a_disk_that_was_full_from_the_first(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    with full_disk(), closing(Registry(path, "10.86.0.0/16")) as registry:
        lease(registry, 1)
        with spacious_disk():
            registry.write_down()
    with closing(Registry(path, "10.86.0.0/16")) as registry:
        assert len(registry) == 1


def test_a_file_that_somebody_holds_costs_no_lease(tmp_path: Path) -> None:
    """A backup, for example."""
    path = tmp_path / "registry.sqlite"
    with closing(Registry(path, "10.86.0.0/16")) as registry:
        with closing(sqlite3.connect(path, isolation_level=None)) as backup:
            backup.execute("BEGIN EXCLUSIVE")
            lease(registry, 1)
            assert registry.unwritten == 1
            backup.execute("ROLLBACK")
        registry.write_down()
        assert registry.unwritten == 0


def test_what_waits_for_a_full_disk_has_a_bound(tmp_path: Path) -> None:
    """Keys are free: nodes that came and went by the thousand are not remembered until there is room."""
    with full_disk(), closing(Registry(tmp_path / "registry.sqlite", "10.86.0.0/16", max_leases=8)) as registry:
        for number in range(100):
            lease(registry, number, now=float(number))
            registry.write_down()
        assert registry.unwritten <= 2 * 8


def test_a_lease_that_was_taken_from_another_is_written_down_as_that(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    with closing(Registry(path, TINY)) as registry:
        for number in range(6):
            lease(registry, number, now=float(number))
        with full_disk():
            given = lease(registry, 7, now=99.0)
    with closing(Registry(path, TINY)) as registry:
        assert len(registry) == 6
        assert lease(registry, 7, now=100.0) == given
