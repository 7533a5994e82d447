"""A simulated server keeps all its leases as long as its disk has room."""

from __future__ import annotations

import pytest
import trio
from tests.verify.simulation.pairs import TALK, do, expect, pair

from tunnel.network.memory_store import MemoryStore
from tunnel.server.lease_file import DiskFails, Row
from tunnel.verify.simulation.runs.kept_leases import KeptLeases
from tunnel.verify.simulation.runs.programs import Programs
from tunnel.verify.simulation.runs.run import run_scenario

ONE: Row = (b"network", b"one", 1, 0.0, 0.0)
OTHER: Row = (b"network", b"other", 2, 0.0, 0.0)


def test_rows_are_replaced_and_deleted_by_their_keys() -> None:
    leases = KeptLeases(MemoryStore())
    leases.write([ONE, OTHER], [])
    leases.write([(*OTHER[:2], 3, 0.0, 9.0)], [ONE[:2], OTHER[:2]])
    leases.close()
    assert leases.read() == [(*OTHER[:2], 3, 0.0, 9.0)]


def test_a_full_disk_takes_nothing_and_still_gives_what_it_has() -> None:
    disk = MemoryStore()
    leases = KeptLeases(disk)
    leases.write([ONE], [])
    disk.is_full = True
    with pytest.raises(DiskFails, match="No space left on device"):
        leases.write([OTHER], [ONE[:2]])
    assert leases.read() == [ONE]


def test_a_server_that_starts_again_knows_its_leases_unless_they_could_not_be_written() -> None:
    """Nodes get a lease in their first second; later they are told the same address."""
    begun: dict[bool, float] = {}
    for is_full in (False, True):
        full = do(0.0, "fill_disk", host="server") if is_full else ""
        restart = (do(2.0, "kill", who="server"), do(3.0, "start", who="server"))
        back = expect(after=3.0, by=19.0, node="desk", server="registered")

        async def look(programs: Programs, is_full: bool = is_full) -> None:
            await trio.sleep(20.0)
            begun[is_full] = programs.nodes["desk"].program._lease.since

        assert run_scenario(pair(TALK, full, *restart, back, length=20.0), 0, script=look).failures == ()
    assert begun[False] - 1.8e9 < 1.0
    assert begun[True] - 1.8e9 > 3.0
