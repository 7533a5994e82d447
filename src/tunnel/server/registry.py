"""What the server remembers across restarts: which node leased which IPv4 tunnel address, and when it was last seen.

A database in memory holds it, and changes are written to a file (lease_file.py). When the disk is full, nodes come and
go as before, and the changes are written when there is room again. The database holds ids and leases only: no key, no
announcement, no endpoint. The search for a free address starts at one derived from the node id, so a server that lost
its file hands out nearly the same addresses again.

Anybody can invent networks and node keys, so the cost of an operation must not grow with the number of leases: a
network holds a bounded number of them, and each query over leases uses an index and ends at that bound.
"""

from __future__ import annotations

import ipaddress
import logging
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tunnel.model.errors import Refused, SettingsError
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.pools import POOLS, is_pool
from tunnel.server.lease_file import LEASE_TABLE, DiskFails, LeaseFile, LeaseStore

MAX_LEASES = 262_144
"""In all networks together: anybody can invent a network, so the file must be bounded."""

MAX_LEASES_PER_NETWORK = 4096

RESIDENT = 86400.0
"""A lease used for longer than these seconds, from first use to latest, is deleted only after all shorter ones when the
file is full. So ids that are registered once, by the thousand, do not displace nodes that come every day."""

WRITTEN_AT_ONCE = 4096
"""Changes that go to the file in one transaction; the whole server blocks meanwhile."""

_log = logging.getLogger(__name__)

_IS_RESIDENT = f"(seen - since > {RESIDENT})"
_INDEXES = f"""
CREATE INDEX lease_by_network ON lease (network, seen, address);
CREATE INDEX lease_by_worth ON lease ({_IS_RESIDENT}, seen);
"""
_CHANGES = """
CREATE TABLE changed (network BLOB, node BLOB, PRIMARY KEY (network, node)) WITHOUT ROWID;
CREATE TRIGGER on_insert AFTER INSERT ON lease
BEGIN INSERT OR IGNORE INTO changed VALUES (NEW.network, NEW.node); END;
CREATE TRIGGER on_update AFTER UPDATE ON lease
BEGIN INSERT OR IGNORE INTO changed VALUES (NEW.network, NEW.node); END;
CREATE TRIGGER on_delete AFTER DELETE ON lease
BEGIN INSERT OR IGNORE INTO changed VALUES (OLD.network, OLD.node); END;
"""
"""The nodes whose lease in memory differs from the file's."""
_CHANGED = """
SELECT changed.network, changed.node, lease.address, lease.since, lease.seen
FROM changed LEFT JOIN lease USING (network, node) LIMIT ?
"""
_FORGET_GONE = "DELETE FROM changed WHERE (network, node) NOT IN (SELECT network, node FROM lease)"
_TRIM = """
DELETE FROM lease WHERE (network, node) IN (
    SELECT network, node FROM (
        SELECT network, node, row_number() OVER (PARTITION BY network ORDER BY seen DESC) AS place FROM lease
    ) WHERE place > ?
)
"""
_FORGET_LEAST_WORTH = f"""
DELETE FROM lease WHERE (network, node) IN (
    SELECT network, node FROM lease WHERE NOT (network = ? AND node = ?) ORDER BY {_IS_RESIDENT}, seen LIMIT ?
)
"""  # noqa: S608 - put together of constants
_FIRST_FREE = """
SELECT :low WHERE NOT EXISTS (SELECT 1 FROM lease WHERE network = :network AND address = :low)
UNION ALL
SELECT * FROM (
    SELECT address + 1 FROM lease AS held
    WHERE network = :network AND address BETWEEN :low AND :high - 1
    AND NOT EXISTS (SELECT 1 FROM lease WHERE network = :network AND address = held.address + 1)
    ORDER BY address LIMIT 1
)
LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """An IPv4 tunnel address of one node in one network."""

    address: str
    """With the pool's prefix length, such as 10.86.0.7/16."""
    since: float
    """Unix time at which the node got it."""


class Registry:
    """The leases of all networks. `kept` is a file, its double, or None (memory); close it. Times are Unix seconds.

    Call `write_down` now and then: it writes what a disk that failed did not take.
    """

    def __init__(
        self,
        kept: Path | LeaseStore | None,
        pool: str,
        *,
        max_leases: int = MAX_LEASES,
        max_leases_per_network: int = MAX_LEASES_PER_NETWORK,
    ) -> None:
        """`max_leases_per_network` must exceed the number of nodes that may be online in one network.

        Raises DeviceError for a file that cannot be made or is not ours.
        """
        self._pool = _parse_pool(pool)
        self._max_leases = max_leases
        self._max_each = max_leases_per_network
        self._file = LeaseFile(kept) if isinstance(kept, Path) else kept
        self._trouble: str | None = None
        rows = [] if self._file is None else self._file.read()
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        self._database.executescript(LEASE_TABLE)
        with self._database:
            self._database.execute("BEGIN")
            self._database.executemany("INSERT INTO lease VALUES (?, ?, ?, ?, ?)", rows)
        self._database.executescript(_INDEXES + _CHANGES)
        self._database.execute(_TRIM, (self._max_each,))
        (count,) = self._database.execute("SELECT count(*) FROM lease").fetchone()
        self._count = int(count)
        self.write_down()

    def close(self) -> None:
        """Write what is left, and close the file."""
        self.write_down()
        if self._file is not None:
            self._file.close()
        self._database.close()

    @property
    def unwritten(self) -> int:
        """How many leases differ from the file."""
        (count,) = self._database.execute("SELECT count(*) FROM changed").fetchone()
        return int(count)

    def write_down(self) -> None:
        """Write the changes to the file; what a failing disk does not take is kept for the next time."""
        while rows := self._database.execute(_CHANGED, (WRITTEN_AT_ONCE,)).fetchall():
            try:
                if self._file is not None:
                    self._file.write([row for row in rows if row[2] is not None], [row[:2] for row in rows])
            except DiskFails as error:
                self._note_trouble(str(error))
                return
            self._database.executemany("DELETE FROM changed WHERE network = ? AND node = ?", [row[:2] for row in rows])
        if self._trouble is not None:
            _log.info("the registry is written down again")
            self._trouble = None

    def lease(
        self, network: NetworkId, node: NodeId, wanted: str, now: float, online: Callable[[], Collection[NodeId]]
    ) -> Lease:
        """The node's address: the wanted one if it is free, else the one it had, else a free one.

        When the network is at its limit, or the pool is full, the lease unseen for longest is deleted. `online` names
        the nodes of this network whose leases may not be deleted. Raises Refused (`no_address`) when all of them are
        online.
        """
        with self._transaction():
            row = self._database.execute(
                "SELECT address, since FROM lease WHERE network = ? AND node = ?", (network.raw, node.raw)
            ).fetchone()
            first, last = self._bounds()
            held = (int(row[0]), float(row[1])) if row is not None and first <= row[0] <= last else None
            if row is None:
                self._make_room(network, online)
            address = self._wanted(network, node, wanted)
            if address is None and held is not None:
                address = held[0]
            if address is None:
                address = self._free(network, node)
            if address is None:
                address = self._reclaim(network, online)
            since = held[1] if held is not None and held[0] == address else now
            self._database.execute(
                "INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?)", (network.raw, node.raw, address, since, now)
            )
            if row is None:
                self._count += 1
                self._forget_surplus(network, node)
        return Lease(f"{ipaddress.IPv4Address(address)}/{self._pool.prefixlen}", since)

    def mark_seen(self, nodes: Collection[tuple[NetworkId, NodeId]], now: float) -> None:
        """These nodes are online, or were until now."""
        with self._transaction():
            self._database.executemany(
                "UPDATE lease SET seen = ? WHERE network = ? AND node = ?",
                [(now, network.raw, node.raw) for network, node in nodes],
            )

    def __len__(self) -> int:
        return self._count

    def _note_trouble(self, why: str) -> None:
        """Log it once; the log is often on the same disk."""
        if self._trouble is None:
            _log.warning(
                "the registry cannot be written: leases are kept in memory, and written down when the disk takes them",
                extra={"reason": why},
            )
        self._trouble = why
        if self.unwritten > 2 * self._max_leases:  # endless nodes came and went; their rows in the file may stay
            self._database.execute(_FORGET_GONE)

    def _bounds(self) -> tuple[int, int]:
        """First and last address that a node may have: all but the network and the broadcast address."""
        return int(self._pool.network_address) + 1, int(self._pool.broadcast_address) - 1

    def _wanted(self, network: NetworkId, node: NodeId, wanted: str) -> int | None:
        """The wanted address as a number, if it is in the pool and no other node has it."""
        try:
            address = int(ipaddress.IPv4Address(wanted.partition("/")[0]))
        except ValueError:
            return None
        first, last = self._bounds()
        if not first <= address <= last:
            return None
        row = self._database.execute(
            "SELECT 1 FROM lease WHERE network = ? AND address = ? AND node <> ?", (network.raw, address, node.raw)
        ).fetchone()
        return address if row is None else None

    def _free(self, network: NetworkId, node: NodeId) -> int | None:
        """The first free address at or after the one derived from the node id, wrapping around the pool once."""
        first, last = self._bounds()
        start = first + int.from_bytes(node.raw[:8], "big") % (last - first + 1)
        for low, high in ((start, last), (first, start - 1)):
            if low > high:
                continue
            row = self._database.execute(_FIRST_FREE, {"network": network.raw, "low": low, "high": high}).fetchone()
            if row is not None:
                return int(row[0])
        return None

    def _make_room(self, network: NetworkId, online: Callable[[], Collection[NodeId]]) -> None:
        """Before a node that is new to this network gets a lease: delete leases beyond the network's limit."""
        (count,) = self._database.execute("SELECT count(*) FROM lease WHERE network = ?", (network.raw,)).fetchone()
        if count >= self._max_each:
            self._forget_unseen(network, online(), count - self._max_each + 1)

    def _reclaim(self, network: NetworkId, online: Callable[[], Collection[NodeId]]) -> int:
        """Take the lease of the pool that was unseen for longest, of a node that is not online."""
        addresses = self._forget_unseen(network, online(), 1, self._bounds())
        if not addresses:
            raise Refused("no_address", f"all addresses of {self._pool} are in use in this network")
        return addresses[0]

    def _forget_unseen(
        self, network: NetworkId, online: Collection[NodeId], count: int, within: tuple[int, int] = (0, 1 << 32)
    ) -> list[int]:
        """Delete up to `count` leases of nodes that are not online, longest unseen first; their addresses."""
        kept = {node.raw for node in online}
        rows = self._database.execute(
            "SELECT node, address FROM lease WHERE network = ? AND address BETWEEN ? AND ? ORDER BY seen, address",
            (network.raw, *within),
        )
        forgotten = list(islice(((node, int(address)) for node, address in rows if node not in kept), count))
        self._database.executemany(
            "DELETE FROM lease WHERE network = ? AND node = ?", [(network.raw, node) for node, _ in forgotten]
        )
        self._count -= len(forgotten)
        return [address for _, address in forgotten]

    def _forget_surplus(self, network: NetworkId, node: NodeId) -> None:
        """After this node's row was added: keep the file within its limit."""
        surplus = self._count - self._max_leases
        if surplus > 0:
            self._count -= self._database.execute(
                _FORGET_LEAST_WORTH,
                (network.raw, node.raw, surplus),
            ).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of the block or nothing; then the file is updated too, unless the disk is known to fail."""
        count = self._count
        try:
            with self._database:
                self._database.execute("BEGIN")
                yield
        except BaseException:
            self._count = count
            raise
        if self._trouble is None:
            self.write_down()


def _parse_pool(text: str) -> ipaddress.IPv4Network:
    try:
        pool = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise SettingsError(f"addresses = {text!r} is no IPv4 prefix such as 10.86.0.0/16 ({error})") from None
    if not is_pool(pool):
        blocks = ", ".join(map(str, POOLS))
        raise SettingsError(f"addresses = {text!r}: nodes take only a prefix of 8 to 30 bits within {blocks}")
    return pool
