"""Each connection is counted once for what became of it; limits themselves are tested in test_limits.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from tunnel.model.identity import ID_BYTES, NetworkId
from tunnel.model.settings import ServerSettings
from tunnel.server.admission_control import AcceptStatistics, AdmissionControl
from tunnel.server.limits import SILENT

HOME = NetworkId(bytes(ID_BYTES))
SETTINGS = ServerSettings()


def ignore(*_: str) -> None:
    """What ends a connection, where no test looks."""


async def test_a_connection_that_gets_a_slot_holds_it_until_it_is_given_back(autojump_clock: MockClock) -> None:
    admission = AdmissionControl(SETTINGS)
    slot = admission.take("192.0.2.1", ignore)
    assert slot is not None
    assert admission.admit(slot, HOME, ignore, returns=False) is None
    assert admission.open_connections == 1
    admission.give_back(slot)
    assert admission.open_connections == 0
    assert admission.statistics == AcceptStatistics(accepted=1)


async def test_a_server_that_closes_gives_no_slots(autojump_clock: MockClock) -> None:
    admission = AdmissionControl(SETTINGS)
    admission.close()
    assert admission.take("192.0.2.1", ignore) is None
    assert admission.statistics == AcceptStatistics(refused_slots=1)


async def test_a_source_that_connects_too_often_gets_no_slot(autojump_clock: MockClock) -> None:
    admission = AdmissionControl(
        replace(SETTINGS, max_connects_per_address_rate=0.01, max_connects_per_address_burst=1)
    )
    slots = [admission.take("192.0.2.1", ignore) for _ in range(SILENT + 3)]
    assert slots.count(None) == admission.statistics.refused_rate == 3


async def test_a_source_that_speaks_too_often_is_cut_off(autojump_clock: MockClock) -> None:
    """Connecting alone costs little, so the rate counts once the first bytes come."""
    admission = AdmissionControl(
        replace(SETTINGS, max_connects_per_address_rate=0.01, max_connects_per_address_burst=1)
    )
    first, second = admission.take("192.0.2.1", ignore), admission.take("192.0.2.1", ignore)
    assert first is not None
    assert second is not None
    admission.check_speech(first)
    with pytest.raises(trio.BrokenResourceError):
        admission.check_speech(second)
    assert admission.statistics == AcceptStatistics(accepted=2, refused_rate=1)


async def test_strangers_that_were_dropped_for_newer_ones_are_counted(autojump_clock: MockClock) -> None:
    admission, gone = AdmissionControl(replace(SETTINGS, max_strangers_per_address=1)), list[str]()
    admission.take("192.0.2.1", lambda: gone.append("first"))
    admission.take("192.0.2.1", lambda: gone.append("second"))
    assert gone == ["first"]
    assert admission.statistics == AcceptStatistics(accepted=2, crowded_out=1)
